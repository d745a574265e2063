"""Rules about fields: defaults, names and units, none of which Avro compares."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any, Final

from waybill_schema_registry.formats.avro.pairing import Finding, Pair, filled
from waybill_schema_registry.formats.avro.schema import Enum, Field, Fixed, Node, Record, Union

__all__ = ["default", "removed", "renamed", "unit"]


def default(pair: Pair) -> Iterator[Finding]:
    for field, other, to, at in fields(pair):
        if field.has_default and other.has_default and not same(field.default, other.default):
            yield Finding(
                message=f"the default of {field.name} was {short(other.default)} and is {short(field.default)}: what was "
                "written without the field now reads otherwise",
                advice=f"Keep {short(other.default)}, or write the value instead of relying on the default.",
                location=to,
                writer_location=at,
            )


def renamed(pair: Pair) -> Iterator[Finding]:
    """A field that the writer does not know beside one that the reader does not: of the same kind, and of a name that is
    like it, or each the only one."""
    if not (isinstance(pair.reader, Record) and isinstance(pair.writer, Record)):
        return
    added, removed = strangers(pair.reader, pair.writer)
    if len(added) * len(removed) > COMPARED:
        return
    for index in added:
        field = pair.reader.fields[index]
        alike = [
            (similarity(field.name, other.name), at)
            for at in removed
            if same_kind(field.type, (other := pair.writer.fields[at]).type)
        ]
        best, at = max(alike, default=(0.0, -1))
        if best >= ALIKE or (alike and len(added) == len(removed) == 1):
            old = pair.writer.fields[at].name
            yield Finding(
                message=f"{old} seems to be {field.name} now: what was written as {old} is dropped, and {field.name} "
                "reads as its default",
                advice=f'Add "aliases": ["{old}"] to {field.name}.',
                location=f"/fields/{index}",
                writer_location=f"/fields/{at}",
            )


ALIKE: Final = 0.6
COMPARED: Final = 10_000
"""Where more pairs than these could be a rename, it is another record."""


def similarity(one: str, other: str) -> float:
    return SequenceMatcher(None, one.lower(), other.lower()).ratio()


def removed(pair: Pair) -> Iterator[Finding]:
    if isinstance(pair.reader, Record) and isinstance(pair.writer, Record):
        for at in strangers(pair.reader, pair.writer)[1]:
            name = pair.writer.fields[at].name
            yield Finding(
                message=f"{name} is written and no longer read",
                advice=f"Keep {name} until nobody writes it, if somebody still needs it.",
                writer_location=f"/fields/{at}",
            )


def unit(pair: Pair) -> Iterator[Finding]:
    yield from changed_unit(pair.reader.properties, pair.writer.properties, "", "")
    for field, other, to, at in fields(pair):
        yield from changed_unit(field.properties, other.properties, to, at)


def changed_unit(reader: Mapping[str, Any], writer: Mapping[str, Any], to: str, at: str) -> Iterator[Finding]:
    if "unit" in writer and reader.get("unit") != writer["unit"]:
        yield Finding(
            message=f"written in {short(writer['unit'])}, read in {short(reader.get('unit', 'no unit'))}",
            advice=f"Keep {short(writer['unit'])}, or add a new field with the new unit.",
            location=to,
            writer_location=at,
        )


def fields(pair: Pair) -> Iterator[tuple[Field, Field, str, str]]:
    """The fields of two records that go together, and where they are."""
    if isinstance(pair.reader, Record) and isinstance(pair.writer, Record):
        for index, place in filled(pair.reader, pair.writer):
            yield pair.reader.fields[index], pair.writer.fields[place], f"/fields/{index}", f"/fields/{place}"


def strangers(reader: Record, writer: Record) -> tuple[list[int], list[int]]:
    """The places of fields that only the reader has, and of those that only the writer has."""
    met = list(filled(reader, writer))
    known, read = {index for index, _ in met}, {place for _, place in met}
    added = [index for index in range(len(reader.fields)) if index not in known]
    return added, [place for place in range(len(writer.fields)) if place not in read]


def same_kind(reader: Node, writer: Node) -> bool:
    """Whether one could be the other under a new name: the kinds of all that it may be, without what is inside."""
    return set(kinds(reader)) == set(kinds(writer))


def kinds(node: Node) -> list[Any]:
    branches = node.branches if isinstance(node, Union) else (node,)
    return [branch.name if isinstance(branch, Record | Enum | Fixed) else branch.type for branch in branches]


def same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
