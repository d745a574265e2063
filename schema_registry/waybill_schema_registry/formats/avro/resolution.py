"""Whether a reader's schema can read what a writer's schema writes: the rules of Avro Java's `SchemaCompatibility`.

They follow the specification (Avro 1.12, §Schema Resolution), and where it leaves room, Java: names agree if their last parts
do, or if the reader has the writer's full name as an alias; namespaces do not matter else; a reader's enum with a default takes
any symbol; logical types and the values of defaults count for nothing. Pairs of types that are being compared count as
compatible where they are met again, so recursion ends; what was found of a pair stands for it wherever it is met again.

Locations are Java's too. In the branch of a writer's union they have the *writer's* index, and what was found of a pair keeps
the place where it was met first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from waybill_schema_registry.formats.avro.schema import (
    Array,
    Enum,
    Field,
    Fixed,
    Map,
    Named,
    Node,
    Primitive,
    Record,
    Union,
)
from waybill_schema_registry.formats.avro.stackless import Step, given, run
from waybill_schema_registry.formats.avro.text import text_of

__all__ = ["AMBIGUOUS", "MISSING", "TOO_MUCH", "Break", "breaks"]

PROMOTIONS = {
    "long": {"int"},
    "float": {"int", "long"},
    "double": {"int", "long", "float"},
    "bytes": {"string"},
    "string": {"bytes"},
}
MOST = 1_000
MOST_PAIRS = 100_000
MISSING = "READER_FIELD_MISSING_DEFAULT_VALUE"
AMBIGUOUS = "AMBIGUOUS_ALIAS"
TOO_MUCH = "TOO_MUCH_TO_COMPARE"
Path: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a reader and a writer stand: the parts, and the ways to them."""

    reader: Node
    writer: Node
    at: Path = ()
    writer_at: Path = ()

    def below(self, reader: Node, writer: Node, at: Path, writer_at: Path) -> Place:
        return Place(reader, writer, self.at + at, self.writer_at + writer_at)


@dataclass(frozen=True, slots=True, eq=False)
class Break:
    """One thing that a reader cannot read. at, writer_at: the ways to it. reader, writer: the types it was found in; field:
    the reader's field, if it is about one."""

    type: str
    message: str
    at: Path
    writer_at: Path
    reader: Node
    writer: Node
    field: Field | None = None


class Undecided(Exception):
    """The whole comparison is of no use. Java throws too where a reader's field fits several of the writer's, and Confluent
    takes that for incompatible."""

    def __init__(self, found: Break) -> None:
        super().__init__(found.message)
        self.found = found


def breaks(reader: Node, writer: Node) -> list[Break]:
    """What the reader cannot read of what the writer writes, in Java's order; no more than 1,000."""
    try:
        return run(Comparison().pair(Place(reader, writer)))[:MOST]
    except Undecided as undecided:
        return [undecided.found]


class Comparison:
    """One comparison. found: what is known of pairs; None while a pair is being looked at."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, int], list[Break] | None] = {}

    def pair(self, here: Place) -> Step[list[Break]]:
        key = (id(here.reader), id(here.writer))
        if key in self.found:
            return self.found[key] or []
        if len(self.found) >= MOST_PAIRS:
            raise Undecided(found(here, TOO_MUCH, f"more than {MOST_PAIRS:,} pairs of types would have to be compared"))
        self.found[key] = None
        result: list[Break] = yield self.compared(here)
        self.found[key] = result
        return result

    def compared(self, here: Place) -> Step[list[Break]]:
        reader, writer = here.reader, here.writer
        if isinstance(writer, Union):
            return self.all_branches(here, writer)
        if isinstance(reader, Union):
            return self.any_branch(here, reader)
        if isinstance(reader, Record) and isinstance(writer, Record):
            return self.records(here, reader, writer)
        if isinstance(reader, Array) and isinstance(writer, Array):
            return self.pair(here.below(reader.items, writer.items, ("items",), ("items",)))
        if isinstance(reader, Map) and isinstance(writer, Map):
            return self.pair(here.below(reader.values, writer.values, ("values",), ("values",)))
        return given(leaves(here, reader, writer))

    def all_branches(self, here: Place, writer: Union) -> Step[list[Break]]:
        """A writer's union: each of its branches must be readable. Where the reader has a union too, only that is said."""
        result: list[Break] = []
        for index, branch in enumerate(writer.branches):
            step = (str(index),)
            if not isinstance(here.reader, Union):
                result += yield self.pair(here.below(here.reader, branch, step, step))
            elif (yield self.pair(Place(here.reader, branch, (), here.writer_at + step))):
                result.append(lacking(here, branch, step))
            del result[MOST:]
        return result

    def any_branch(self, here: Place, reader: Union) -> Step[list[Break]]:
        """A reader's union: one branch that reads it is enough."""
        for branch in reader.branches:
            if not (yield self.pair(Place(branch, here.writer, (), here.writer_at))):
                return []
        return [lacking(here, here.writer, ())]

    def records(self, here: Place, reader: Record, writer: Record) -> Step[list[Break]]:
        result = names(here, reader, writer)
        places: dict[str, int] = {}
        for position, field in unlike(reader, writer):
            step = ("fields", str(position))
            match = counterpart(here, field, position, writer)
            if match is not None:
                if plainly_alike(field.type, match.type):
                    continue
                places = places or {each.name: index for index, each in enumerate(writer.fields)}
                writer_step = ("fields", str(places[match.name]), "type")
                result += yield self.pair(here.below(field.type, match.type, (*step, "type"), writer_step))
            elif not field.has_default:
                result += yield self.missing(here, field, step)
            del result[MOST:]
        return result

    def missing(self, here: Place, field: Field, step: Path) -> Step[list[Break]]:
        """The writer lacks a field that has no default. Of an enum with one, Java compares the enum with the record."""
        if isinstance(field.type, Enum) and field.type.default is not None:
            odd: list[Break] = yield self.pair(here.below(field.type, here.writer, (*step, "type"), ()))
            return [replace(each, field=field) for each in odd]
        return [Break(MISSING, field.name, here.at + step, here.writer_at, here.reader, here.writer, field)]


def plainly_alike(reader: Node, writer: Node) -> bool:
    """Whether both are the same primitive, or unions of the same ones: the short way for what changed in its doc alone."""
    if isinstance(reader, Union) and isinstance(writer, Union):
        pairs = zip(reader.branches, writer.branches, strict=False)
        return len(reader.branches) == len(writer.branches) and all(plainly_alike(*pair) for pair in pairs)
    return isinstance(reader, Primitive) and reader.type == writer.type


def unlike(reader: Record, writer: Record) -> list[tuple[int, Field]]:
    """The reader's fields that must be looked at, by position: all but those that the writer has word for word."""
    also = set(writer.fields)
    rest = [(position, field) for position, field in enumerate(reader.fields) if field not in also or not field.settled]
    theirs = writer.by_name
    return [
        (position, field)
        for position, field in rest
        if not field.settled or (same := theirs.get(field.name)) is None or same.settled != field.settled
    ]


def counterpart(here: Place, field: Field, position: int, writer: Record) -> Field | None:
    """The writer's field that a reader's field reads: by its name, or by one of its aliases."""
    direct = writer.by_name.get(field.name)
    if not field.aliases:
        return direct
    matches = [writer.by_name[name] for name in (field.name, *field.aliases) if name in writer.by_name]
    if len(matches) > 1:
        shown = f"{field.name} type:{field.type.type.upper()} pos:{position}"
        message = f"Reader record field {shown} matches multiple fields in writer record schema {text_of(writer)}"
        at = (*here.at, "fields", str(position))
        raise Undecided(Break(AMBIGUOUS, message, at, here.writer_at, here.reader, writer, field))
    return matches[0] if matches else None


def leaves(here: Place, reader: Node, writer: Node) -> list[Break]:
    """Types without parts, and those that do not go together at all."""
    if isinstance(reader, Enum) and isinstance(writer, Enum):
        return names(here, reader, writer) + symbols(here, reader, writer)
    if isinstance(reader, Fixed) and isinstance(writer, Fixed):
        return names(here, reader, writer) + size(here, reader, writer)
    if reader.type == writer.type or writer.type in PROMOTIONS.get(reader.type, ()):
        return []
    message = f"reader type: {reader.type.upper()} not compatible with writer type: {writer.type.upper()}"
    return [found(here, "TYPE_MISMATCH", message)]


def lacking(here: Place, writer: Node, step: Path) -> Break:
    message = f"reader union lacking writer type: {writer.type.upper()}"
    at, writer_at = here.at + step, here.writer_at + step
    return Break("MISSING_UNION_BRANCH", message, at, writer_at, here.reader, writer)


def names(here: Place, reader: Named, writer: Named) -> list[Break]:
    if reader.name == writer.name or writer.fullname in aliases(reader):
        return []
    return [found(here, "NAME_MISMATCH", f"expected: {writer.fullname}", "name")]


def aliases(reader: Named) -> list[str]:
    """As Java compares them: one without a namespace, of a type that has one, begins with a dot and fits nothing."""
    return [alias if "." in alias or not reader.namespace else f".{alias}" for alias in reader.aliases]


def symbols(here: Place, reader: Enum, writer: Enum) -> list[Break]:
    unknown = set(writer.symbols).difference(reader.symbols)
    if not unknown or reader.default is not None:
        return []
    return [found(here, "MISSING_ENUM_SYMBOLS", f"[{', '.join(sorted(unknown, key=java_order))}]", "symbols")]


def java_order(text: str) -> bytes:
    """Java orders strings by their UTF-16."""
    return text.encode("utf-16-be", "surrogatepass")


def size(here: Place, reader: Fixed, writer: Fixed) -> list[Break]:
    if reader.size == writer.size:
        return []
    return [found(here, "FIXED_SIZE_MISMATCH", f"expected: {writer.size}, found: {reader.size}", "size")]


def found(here: Place, kind: str, message: str, *step: str) -> Break:
    return Break(kind, message, here.at + step, here.writer_at + step, here.reader, here.writer)
