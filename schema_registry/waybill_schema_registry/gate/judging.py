"""One contract judged: pure, over schemas that are read already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

import msgspec

from waybill_schema_registry.formats.avro.counterexample import misreading
from waybill_schema_registry.formats.avro.differences import differences_of
from waybill_schema_registry.formats.avro.parsed import AvroSchema
from waybill_schema_registry.formats.avro.strictness import findings
from waybill_schema_registry.formats.avro.text import text_of
from waybill_schema_registry.formats.format import Counterexample
from waybill_schema_registry.gate.contract import Contract
from waybill_schema_registry.gate.nested import Found, all_found
from waybill_schema_registry.gate.places import field_at, words_for
from waybill_schema_registry.gate.rules import BREAKS, Policy, grade
from waybill_schema_registry.gate.verdict import Break, Evidence, Order, State, Verdict
from waybill_schema_registry.levels import Direction, Level

__all__ = ["MOST", "judge"]

MOST: Final = 1_000
"""A comparison finds no more than these. What may lie behind them is not known, so nothing of it counts as allowed."""
PROVED: Final = 5
"""So many breaks of a verdict are shown with data."""
GRADES: Final = ("forbidden", "warning", "allowed")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The new schema and one old version, one of them as the reader."""

    direction: Direction
    version: str
    reader: AvroSchema
    writer: AvroSchema


def judge(contract: Contract, history: Sequence[tuple[str, AvroSchema]], level: Level, policy: Policy) -> Verdict:
    """history: oldest first, each version with what it is called. All that the level looks at is compared, also where a
    version has broken the level before: what is allowed must not hide what is not. Raises `InvalidSchema`."""
    new = contract.understood()
    if not history or text_of(history[-1][1].root) == text_of(new.root):  # what they refer to counts as well
        state: State = "unchanged" if history else "new"
        return Verdict(subject=contract.subject, source=contract.source, state=state, level=level)
    looked_at = level.looked_at(history)
    pairs = (pair for name, old in looked_at for pair in _pairs(new, name, old, level))
    merged = _merged(one for pair in pairs for one in _breaks(pair, level, policy))
    breaks = sorted(_proved(merged), key=lambda one: GRADES.index(one.grade))
    return Verdict(
        subject=contract.subject,
        source=contract.source,
        state="changed",
        level=level,
        against=tuple(name for name, _ in looked_at),
        order=_order(new, history[-1][1]),
        breaks=tuple(breaks),
    )


def _pairs(new: AvroSchema, name: str, old: AvroSchema, level: Level) -> Iterator[Comparison]:
    """At NONE only the stricter rules count, for those who read what was written before."""
    if level.backward or level is Level.NONE:
        yield Comparison("backward", name, new, old)
    if level.forward:
        yield Comparison("forward", name, old, new)


def _breaks(pair: Comparison, level: Level, policy: Policy) -> Iterator[tuple[Break, Found]]:
    reader, writer = pair.reader, pair.writer
    found = [] if level is Level.NONE else all_found(reader.root, writer.root)
    complete = len(found) < MOST
    stricter = findings(reader, writer, policy.stricter())
    found += [Found(one, partial(misreading, reader, writer, one)) for one in stricter]
    for one in found:
        made = _break(pair, one, policy)
        yield made if complete else msgspec.structs.replace(made, grade="forbidden"), one


def _break(pair: Comparison, found: Found, policy: Policy) -> Break:
    one = found.difference
    backward = pair.direction == "backward"
    return Break(
        rule=one.type,
        grade=grade(one, policy),
        direction=pair.direction,
        versions=(pair.version,),
        location=one.location,
        writer_location=one.writer_location,
        message=one.message,
        place=words_for(pair.reader.root, one.location),
        reader=_json(one.reader_fragment),
        writer=_json(one.writer_fragment),
        advice=one.advice,
        field=field_at(pair.reader.root, one.location) if backward else field_at(pair.writer.root, one.writer_location),
    )


def _merged(found: Iterable[tuple[Break, Found]]) -> list[tuple[Break, Found]]:
    """The same break of several versions is one. What a stricter rule finds in both directions is one as well."""
    merged: dict[tuple[object, ...], tuple[Break, Found]] = {}
    for made, one in found:
        places = (made.location, made.writer_location)
        where = (made.direction, *places, made.message) if made.rule in BREAKS else tuple(sorted(places))
        known, first = merged.get((made.rule, *where), (made, one))
        versions = tuple(dict.fromkeys((*known.versions, *made.versions)))
        merged[made.rule, *where] = msgspec.structs.replace(known, versions=versions), first
    return list(merged.values())


def _proved(found: Iterable[tuple[Break, Found]]) -> Iterator[Break]:
    """With data that show it, but what somebody allows."""
    left = PROVED
    for made, one in found:
        if made.grade == "allowed" or not left:
            yield made
        else:
            left -= 1
            yield msgspec.structs.replace(made, evidence=_evidence(one.prove()))


def _evidence(shown: Counterexample | None) -> Evidence | None:
    if shown is None:
        return None
    return Evidence(datum=_json(shown.datum), misread=shown.outcome == "misread", what_happened=shown.what_happened)


def _order(new: AvroSchema, latest: AvroSchema) -> Order:
    reads = not differences_of(new.root, latest.root), not differences_of(latest.root, new.root)
    return ORDERS[reads]


ORDERS: Final[dict[tuple[bool, bool], Order]] = {
    (True, True): "any",
    (True, False): "consumers",
    (False, True): "producers",
    (False, False): "nobody",
}
"""By whether the new schema reads the latest, and the latest the new one."""


def _json(value: Any) -> str:
    """On one line; what JSON has no word for as Python writes it, bytes as Avro does."""
    return msgspec.json.encode(_plain(value)).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in cast("Sequence[Any]", value)]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
