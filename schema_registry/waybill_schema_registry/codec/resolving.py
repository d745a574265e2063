"""From a value as the writer's schema has it to one as ours has it (Avro 1.12, §Schema Resolution).

fastavro can do that too, and does it otherwise than the specification: of a reader's union it takes the first branch that fits
instead of the same one, it forgets the branch's name or fails where only one of both sides has a union, and it takes no notice of
the reader's logical types. So it is asked for what was written, and the rest is done here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from waybill_schema_registry.codec.forms import Defaults
from waybill_schema_registry.codec.library import LOGICAL_READERS
from waybill_schema_registry.codec.limits import Limits
from waybill_schema_registry.codec.measuring import precision_of
from waybill_schema_registry.codec.varints import Refused, check_digits
from waybill_schema_registry.formats.avro.pairing import UNLIKE, filled, likeness
from waybill_schema_registry.formats.avro.resolution import breaks
from waybill_schema_registry.formats.avro.schema import Array, Enum, Fixed, Map, Node, Record, Union

__all__ = ["Way", "resolver"]

Way: TypeAlias = Callable[[Any], Any]
"""A value as fastavro gives it with the writer's schema alone, without logical types and with the names of branches, to one of
ours. Raises `Refused`, and what a logical type raises."""

PLAIN: Final[dict[str, type]] = {
    "null": type(None),
    "boolean": bool,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "bytes": bytes,
    "string": str,
    "array": list,
    "map": dict,
}
PROMOTED: Final[dict[tuple[str, str], Way]] = {
    ("int", "float"): float,
    ("int", "double"): float,
    ("long", "float"): float,
    ("long", "double"): float,
    ("string", "bytes"): str.encode,
    ("bytes", "string"): bytes.decode,
}
"""By the writer's type and ours; the others that go together are the same in Python."""


def resolver(writer: Node, ours: Node, limits: Limits, *, named: bool) -> Way:
    """named: whether what is of a named type in a union of ours is wanted as (its full name, value). What does not go together
    is refused where a value meets it, since others may not."""
    return Resolution(limits, named=named).way(writer, ours) or _same


class Resolution:
    """The ways from the types of one schema to those of another. `None` stands for a way on which nothing changes."""

    def __init__(self, limits: Limits, *, named: bool) -> None:
        self._limits = limits
        self._named = named
        self._defaults = Defaults(named=named)
        self._ways: dict[tuple[int, int], Way | None] = {}

    def way(self, writer: Node, ours: Node) -> Way | None:
        key = (id(writer), id(ours))
        if key not in self._ways:

            def again(value: Any) -> Any:
                return made(value)

            self._ways[key] = again  # where it is met again inside of itself
            found = self._ways[key] = self._made(writer, ours)
            made = found or _same
        return self._ways[key]

    def _made(self, writer: Node, ours: Node) -> Way | None:
        if isinstance(writer, Union):
            return self._from_union(writer, ours)
        if isinstance(ours, Union):
            return self._into_union(writer, ours)
        if likeness(ours, writer) == UNLIKE:
            return _never(f"{_called(writer)} was written, which cannot be read as {_called(ours)}")
        if isinstance(writer, Record) and isinstance(ours, Record):
            return self._record(writer, ours)
        if isinstance(writer, Array) and isinstance(ours, Array):
            return _each(self.way(writer.items, ours.items))
        if isinstance(writer, Map) and isinstance(ours, Map):
            return _each_value(self.way(writer.values, ours.values))
        if isinstance(writer, Enum) and isinstance(ours, Enum):
            return _symbol(writer, ours)
        return self._leaf(writer, ours)

    # ---------------------------------------------------------------- unions

    def _from_union(self, writer: Union, ours: Node) -> Way | None:
        titled: dict[str, Way] = {}
        plain: dict[type, Way] = {}
        changes = False
        for branch in writer.branches:
            way = self.way(branch, ours)
            if isinstance(branch, Record | Enum | Fixed):
                titled[branch.fullname] = way or _same
            else:
                plain.setdefault(
                    PLAIN[branch.type], way or _same
                )  # of int and long, float and double, Python knows but one
                changes = changes or way is not None
        if not titled and not changes:
            return None

        def read(value: Any) -> Any:
            return titled[value[0]](value[1]) if value.__class__ is tuple else plain[value.__class__](value)

        return read

    def _into_union(self, writer: Node, ours: Union) -> Way | None:
        degrees = [likeness(branch, writer) for branch in ours.branches]
        fitting = sorted((degree, place) for place, degree in enumerate(degrees) if degree < UNLIKE)
        if not fitting:
            return _never(f"{_called(writer)} was written, which is none of {', '.join(map(_called, ours.branches))}")
        if len(fitting) > 1:
            fitting = [each for each in fitting if not breaks(ours.branches[each[1]], writer)] or fitting
        branch = ours.branches[fitting[0][1]]
        way = self.way(writer, branch)
        if not self._named or not isinstance(branch, Record | Enum | Fixed):
            return way
        name, into = branch.fullname, way or _same
        return lambda value: (name, into(value))

    # ---------------------------------------------------------------- records

    def _record(self, writer: Record, ours: Record) -> Way | None:
        places = dict(filled(ours, writer))
        taken: list[tuple[str, str, Way | None]] = []
        added: dict[str, Any] = {}
        for place, field in enumerate(ours.fields):
            if place in places:
                theirs = writer.fields[places[place]]
                taken.append((field.name, theirs.name, self.way(theirs.type, field.type)))
            elif field.has_default:
                added[field.name] = self._defaults.value(field.type, field.default)
            else:
                return _never(f"{writer.fullname} was written, without {field.name}, which has no default")
        if not added and len(taken) == len(writer.fields) and all(n == t and w is None for n, t, w in taken):
            return None
        return _record(taken, added)

    # ---------------------------------------------------------------- what has no parts

    def _leaf(self, writer: Node, ours: Node) -> Way | None:
        if isinstance(writer, Fixed) and isinstance(ours, Fixed) and writer.size != ours.size:
            return _never(f"{writer.size} bytes of {writer.fullname} were written, which has {ours.size} here")
        promote = PROMOTED.get((writer.type, ours.type))
        meant = self._logical(ours)
        if meant is not None and _family(writer) == _family(ours) and (kept := self._logical(writer)) is not None:
            return kept  # the same thing in another unit or scale: as it was written
        if meant is None or promote is None:
            return meant or promote
        return lambda value: meant(promote(value))

    def _logical(self, node: Node) -> Way | None:
        reader = LOGICAL_READERS.get(f"{node.type}-{node.logical}")
        if reader is None:
            return None
        properties = dict(node.properties)
        if (precision := precision_of(node)) is None:
            return lambda value: reader(value, properties, None)
        most, bound = self._limits.decimal, 10**precision

        def decimal(value: bytes) -> Any:
            if len(value) > most:
                raise Refused(f"a decimal has more than {most} bytes")
            check_digits(value, 0, len(value), bound)
            return reader(value, properties, None)

        return decimal


def _same(value: Any) -> Any:
    return value


def _never(text: str) -> Way:
    def refuse(value: Any) -> Any:
        del value
        raise Refused(text)

    return refuse


def _each(way: Way | None) -> Way | None:
    return None if way is None else lambda values: [way(value) for value in values]


def _each_value(way: Way | None) -> Way | None:
    return None if way is None else lambda values: {key: way(value) for key, value in values.items()}


def _record(taken: Sequence[tuple[str, str, Way | None]], added: Mapping[str, Any]) -> Way:
    copied = any(isinstance(default, dict | list | tuple) for default in added.values())

    def read(value: Any) -> Any:
        made: dict[str, Any] = {}
        for name, theirs, way in taken:
            made[name] = value[theirs] if way is None else way(value[theirs])
        if added:
            made.update(_copied(added) if copied else added)
        return made

    return read


def _copied(value: Any) -> Any:
    """With lists and dicts of its own."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        copies = [_copied(each) for each in cast("Sequence[Any]", value)]
        return copies if isinstance(value, list) else tuple(copies)
    return value


def _symbol(writer: Enum, ours: Enum) -> Way | None:
    known, default = frozenset(ours.symbols), ours.default
    if known.issuperset(writer.symbols):
        return None
    if default is not None:
        return lambda symbol: symbol if symbol in known else default

    def read(symbol: str) -> str:
        if symbol not in known:
            raise Refused(f"{symbol} is no symbol of {ours.fullname}, which has no default")
        return symbol

    return read


def _family(node: Node) -> str | None:
    """What a logical type is about, whatever its unit."""
    return None if node.logical is None else node.logical.removesuffix("-millis").removesuffix("-micros")


def _called(node: Node) -> str:
    return node.fullname if isinstance(node, Record | Enum | Fixed) else node.type
