"""Evidence of an incompatibility: a datum that the writer encodes and the reader refuses or misreads, proved by decoding it.

The datum is written along the way to a difference and is as small as can be elsewhere, so what happens comes from that
difference. fastavro reads it, bounded: by small data, by schemas of no great depth.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, Final, Literal

from fastavro import (
    parse_schema,
    schemaless_reader,  # pyright: ignore[reportUnknownVariableType] - of a file of anything
    schemaless_writer,  # pyright: ignore[reportUnknownVariableType]
)
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException, UnknownType
from fastavro.validation import validate

from waybill_schema_registry.formats.avro.foreign import TooDeep, for_fastavro
from waybill_schema_registry.formats.avro.pairing import likeness
from waybill_schema_registry.formats.avro.parsed import AvroSchema
from waybill_schema_registry.formats.avro.resolution import AMBIGUOUS, Break, breaks
from waybill_schema_registry.formats.avro.schema import Enum, Node, Union
from waybill_schema_registry.formats.avro.specimens import Impossible, Specimens
from waybill_schema_registry.formats.avro.walking import node_at, steps, value_at
from waybill_schema_registry.formats.format import Counterexample, Difference

__all__ = ["Way", "counterexample", "first_proved", "misreading", "ways"]

TRIED: Final = 32
"""No more data than these are decoded in search of one that proves it."""
LONGEST: Final = 300
REFUSALS: Final = (
    SchemaResolutionError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
)
"""What fastavro raises where a reader cannot read: the first; the others where it goes on regardless, and fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """To where something may show. path: through the writer; reason: the type of what is there; symbol: what an enum at its
    end says. place: in the reader, as far as that is known."""

    path: list[str]
    reason: str
    symbol: str | None = None
    place: list[str] | None = None


def counterexample(reader: AvroSchema, writer: AvroSchema, found: Sequence[Difference]) -> Counterexample | None:
    """For the first of all incompatibilities, as `differences_of` finds them, of which there is one; None where none could be
    proved, which does not mean that there is none."""
    broken = zip(found, breaks(reader.root, writer.root), strict=False)
    return first_proved(reader, writer, ((each, way) for each, one in broken for way in ways(one)), logical=False)


def misreading(reader: AvroSchema, writer: AvroSchema, finding: Difference) -> Counterexample | None:
    """For what a stricter rule found: a datum that is read as something else, or not at all. None where none shows it."""
    path, place = steps(finding.writer_location), steps(finding.location)
    hidden = unknown_symbols(node_at(reader.root, place), node_at(writer.root, path))
    candidates = (Way(path=path, reason=finding.type, symbol=symbol, place=place) for symbol in [*hidden, None])
    return first_proved(reader, writer, ((finding, way) for way in candidates), logical=True)


def first_proved(
    reader: AvroSchema, writer: AvroSchema, candidates: Iterator[tuple[Difference, Way]], *, logical: bool
) -> Counterexample | None:
    """The first of the candidates that is proved. logical: whether what values stand for counts, as for the stricter rules."""
    try:
        proof = Proof(reader.root, writer.root, logical=logical)
        proved = (proof.of(difference, way) for difference, way in itertools.islice(candidates, TRIED))
        return next((one for one in proved if one is not None), None)
    except (SchemaParseException, UnknownType, TooDeep):
        return None


def ways(found: Break) -> list[Way]:
    """To what is broken, or to what is behind it, the longest first: something must stand there, or a reader that looks no
    further than it has to may read it all the same."""
    if found.type == AMBIGUOUS:  # readers do not agree on what it is
        return []
    return sorted(itertools.islice(reasons(found, set()), TRIED), key=lambda way: -len(way.path))


def reasons(found: Break, seen: set[tuple[Node, Node]]) -> Iterator[Way]:
    """Each symbol that is missing, each reason why a branch does not fit. seen: what was looked into already."""
    path = list(found.writer_at)
    for symbol in unknown_symbols(found.reader, found.writer):
        yield Way(path=path, reason=found.type, symbol=symbol)
    yield Way(path=path, reason=found.type)
    for branch in likely(found.reader, found.writer):
        if (branch, found.writer) not in seen and len(seen) < TRIED:
            seen.add((branch, found.writer))
            for reason in breaks(branch, found.writer):
                for way in reasons(reason, seen):
                    yield replace(way, path=path + way.path)


def likely(reader: Node, writer: Node) -> list[Node]:
    """The branches of a union that a reader would choose for what was written: those that are most like it."""
    branches = reader.branches if isinstance(reader, Union) else ()
    best = min((likeness(branch, writer) for branch in branches), default=0)
    return [branch for branch in branches if likeness(branch, writer) == best]


def unknown_symbols(reader: Node, writer: Node) -> list[str]:
    known = reader.symbols if isinstance(reader, Enum) else ()
    return [symbol for symbol in writer.symbols if symbol not in known] if isinstance(writer, Enum) else []


class Proof:
    """Of differences between one reader and one writer. What is decoded has no logical types: resolution knows none."""

    def __init__(self, reader: Node, writer: Node, *, logical: bool) -> None:
        self.reader, self.writer = reader, writer
        self.specimens = Specimens(writer, telling=logical)
        self.reading = parse_schema(for_fastavro(reader), {})
        self.writing = parse_schema(for_fastavro(writer, defaults=False), {})

    def of(self, difference: Difference, way: Way) -> Counterexample | None:
        try:
            body = self.specimens.at(way.path, way.symbol)
            datum = schemaless_reader(BytesIO(body), self.writing, None)
        except (Impossible, *REFUSALS):
            return None
        outcome: Literal["refused", "misread"] = "misread"
        try:
            read = schemaless_reader(BytesIO(body), self.writing, self.reading)
            words = self.misread(way, datum, read)
        except REFUSALS as refusal:
            outcome, words = "refused", words_of(refusal)
        if words is None:
            return None
        return Counterexample(
            datum=datum, body=body, outcome=outcome, what_happened=words, reason=way.reason, difference=difference
        )

    def misread(self, way: Way, datum: Any, read: Any) -> str | None:
        """What was made of the datum, if it is something else than was written, or nothing that the reader allows. Raises
        what fastavro raises where the reader's logical type cannot stand for it."""
        if way.place is None:
            allowed = validate(read, self.reading, raise_errors=False, strict=True)
            return None if allowed else f"read as {shortened(repr(read))}, which the reader's schema does not allow"
        try:
            written = meaning(node_at(self.writer, way.path), value_at(datum, self.writer, way.path))
        except (StopIteration, *REFUSALS):
            return None
        value = meaning(node_at(self.reader, way.place), value_at(read, self.reader, way.place))
        return None if value == written else f"written as {shortened(repr(written))}, read as {shortened(repr(value))}"


def meaning(node: Node, value: Any) -> Any:
    """What a value stands for by the logical types of its schema (§Logical Types: they are the reader's own)."""
    body = BytesIO()
    schemaless_writer(body, parse_schema(for_fastavro(node), {}), value)
    body.seek(0)
    return schemaless_reader(body, parse_schema(for_fastavro(node, logical=True), {}), None)


def words_of(refusal: Exception) -> str:
    if isinstance(refusal, SchemaResolutionError):  # its own words are both schemas in full
        return "the reader cannot take it by its schema (SchemaResolutionError)"
    return shortened(f"the reader fails: {type(refusal).__name__}: {refusal}")


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
