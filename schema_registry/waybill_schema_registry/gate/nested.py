"""All that a reader cannot read, each with its proof, also what is behind a union that does not fit.

Avro Java says that a branch is missing, also where a branch of that name is there and only something inside of it does not fit.
Whoever allows the one must not let the other through unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from waybill_schema_registry.formats.avro.counterexample import first_proved, ways
from waybill_schema_registry.formats.avro.differences import differences_of
from waybill_schema_registry.formats.avro.pairing import UNLIKE, likeness
from waybill_schema_registry.formats.avro.parsed import AvroSchema
from waybill_schema_registry.formats.avro.resolution import Break, breaks
from waybill_schema_registry.formats.avro.schema import Node, Union
from waybill_schema_registry.formats.format import Counterexample, Difference

__all__ = ["Found", "all_found"]


@dataclass(frozen=True, slots=True)
class Found:
    """prove: makes data that show it, if it can. The data are of the part where it was found: of a branch, where it is inside
    of one."""

    difference: Difference
    prove: Callable[[], Counterexample | None]


def all_found(reader: Node, writer: Node) -> list[Found]:
    """As the format finds them, with the reasons why a branch does not fit in place of the branch."""
    return list(_found(reader, writer, set()))


def _found(reader: Node, writer: Node, seen: set[tuple[int, int]]) -> Iterator[Found]:
    for difference, broken in zip(differences_of(reader, writer), breaks(reader, writer), strict=True):
        branch = _meant(broken) if broken.type == "MISSING_UNION_BRANCH" else None
        if branch is None:
            yield Found(difference, _proof(reader, writer, difference, broken))
        elif (pair := (id(branch[1]), id(broken.writer))) not in seen:
            seen.add(pair)
            for inside in _found(branch[1], broken.writer, seen):
                yield Found(_moved(inside.difference, branch[0], difference.writer_location), inside.prove)


def _proof(reader: Node, writer: Node, difference: Difference, broken: Break) -> Callable[[], Counterexample | None]:
    def prove() -> Counterexample | None:
        candidates = ((difference, way) for way in ways(broken))
        return first_proved(
            AvroSchema(root=reader, references={}), AvroSchema(root=writer, references={}), candidates, logical=False
        )

    return prove


def _meant(broken: Break) -> tuple[str, Node] | None:
    """The reader's branch that is meant for what is written, and where it is."""
    branches = broken.reader.branches if isinstance(broken.reader, Union) else ()
    likely = min(range(len(branches)), key=lambda at: likeness(branches[at], broken.writer), default=None)
    if likely is None or likeness(branches[likely], broken.writer) >= UNLIKE:
        return None
    union = broken.at[:-1] if broken.at and broken.at[-1].isdigit() else broken.at  # Java has the writer's index there
    return "/" + "/".join((*union, str(likely))), branches[likely]


def _moved(inside: Difference, at: str, writer_at: str) -> Difference:
    return replace(
        inside, location=_below(at, inside.location), writer_location=_below(writer_at, inside.writer_location)
    )


def _below(place: str, location: str) -> str:
    return place if location == "/" else place.rstrip("/") + location
