"""What fastavro would write although it is wrong, looked for in a value before it is encoded.

It cuts 1.5 to 1, writes what no int can hold, takes anything for a boolean and any text for a UUID; a value that contains
itself overflows the stack of the process. So a function is made for each schema that looks at just those places.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeAlias, cast

from waybill.errors import EncodeError
from waybill_schema_registry.codec.limits import Limits
from waybill_schema_registry.codec.measuring import Measures
from waybill_schema_registry.formats.avro.schema import Array, Field, Map, Node, Primitive, Record, Union, nodes

__all__ = ["Check", "checker", "nested_at_most"]

Check: TypeAlias = Callable[[Any], object]
"""Looks at a value, as fastavro takes it. Raises `EncodeError`, and what a value of another shape raises."""

RANGES = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}


def checker(root: Node, limits: Limits) -> Check | None:
    """`None`: nothing has to be looked at."""
    writer = Writer(root)
    recursive = writer.measures.cyclic
    if not writer.needed(root) and not recursive:
        return None
    writer.write()
    names: dict[str, Any] = {"integer": _integer, "boolean": _boolean, "is_uuid": _is_uuid}
    exec(compile("\n".join(writer.lines), "<avro check>", "exec"), names)  # noqa: S102 - the source is ours; names of fields stand in it as `repr` writes them
    look: Check = names["walk"]
    if not recursive:
        return look
    levels = limits.depth * max(map(writer.measures.levels, recursive))

    def bounded(value: Any) -> None:
        nested_at_most(value, levels)
        look(value)

    return bounded


class Writer:
    """Writes the source: a function for the whole, and one for each record that is met more than once."""

    def __init__(self, root: Node) -> None:
        self.lines: list[str] = []
        self.measures = Measures(root)
        self._root = root
        self._needed = _needing(root)
        self._functions: dict[Node, str] = {}
        self._left: list[Node] = []
        self._indent = 0
        self._names = 0

    def needed(self, node: Node) -> bool:
        return node in self._needed

    def write(self) -> None:
        if not self.needed(self._root):
            self._say("def walk(v): pass")
            return
        self._function("walk", self._root)
        while self._left:
            node = self._left.pop()
            self._function(self._functions[node], node)

    def _function(self, name: str, node: Node) -> None:
        self._indent = 0
        with self._block(f"def {name}(v):"):
            self._body(node, "v", "the value", 1)

    def _value(self, node: Node, name: str, what: str, level: int) -> None:
        if isinstance(node, Record) or level > 5:
            if node not in self._functions:
                self._functions[node] = f"f{len(self._functions)}"
                self._left.append(node)
            self._say(f"{self._functions[node]}({name})")
        else:
            self._body(node, name, what, level)

    def _body(self, node: Node, name: str, what: str, level: int) -> None:
        if isinstance(node, Record):
            for field in node.fields:
                if self.needed(field.type):
                    self._field(field, name, level)
        elif isinstance(node, Array | Map):
            item = self._new()
            below, more = (node.items, "") if isinstance(node, Array) else (node.values, ".values()")
            with self._block(f"for {item} in {name}{more}:"):
                self._item(below, item, what, level + 1)
        elif isinstance(node, Union):
            self._union(node, name, what, level)
        elif isinstance(node, Primitive):
            self._primitive(node, name, what)
        self._say("pass")

    def _item(self, node: Node, name: str, what: str, level: int) -> None:
        """One of many records is looked at in place: a call for each would cost more than the look."""
        if isinstance(node, Record) and node not in self.measures.cyclic and level < 4:
            self._body(node, name, what, level)
        else:
            self._value(node, name, what, level)

    def _field(self, field: Field, name: str, level: int) -> None:
        value = self._new()
        if field.has_default:
            self._say(f"{value} = {name}.get({field.name!r}, {name})")
            with self._block(f"if {value} is not {name}:"):
                self._value(field.type, value, field.name, level + 1)
        else:
            self._say(f"{value} = {name}[{field.name!r}]")
            self._value(field.type, value, field.name, level)

    def _union(self, node: Union, name: str, what: str, level: int) -> None:
        """fastavro looks well at a value whose branch it has to find, but not at one that comes with a branch's name."""
        with self._block(f"if {name}.__class__ is tuple:"):
            word = "if"
            for branch in node.branches:
                if isinstance(branch, Record) and self.needed(branch):
                    with self._block(f"{word} {name}[0] == {branch.fullname!r}:"):
                        self._value(branch, f"{name}[1]", what, level + 1)
                    word = "elif"
            self._say("pass")

    def _primitive(self, node: Primitive, name: str, what: str) -> None:
        if node.type in RANGES:
            low, high = RANGES[node.type]
            logical = node.logical is not None
            self._say(
                f"if {name}.__class__ is not int or not {low} <= {name} <= {high}: integer({name}, {what!r}, {low}, {high}, {logical})"
            )
        elif node.type == "boolean":
            self._say(f"if {name} is not True and {name} is not False: boolean({name}, {what!r})")
        elif node.logical == "uuid":
            self._say(f"if {name}.__class__ is str: is_uuid({name}, {what!r})")

    def _new(self) -> str:
        self._names += 1
        return f"v{self._names}"

    def _say(self, line: str) -> None:
        self.lines.append("    " * self._indent + line)

    @contextmanager
    def _block(self, head: str) -> Generator[None]:
        self._say(head)
        self._indent += 1
        yield
        self._indent -= 1


def _needing(root: Node) -> set[Node]:
    """The nodes in which something has to be looked at, to the end of every path: grown until nothing is added."""
    found = {node for node in nodes(root) if _is_loose(node)}
    above: dict[Node, list[Node]] = {}
    for node in nodes(root):
        for below in _seen_through(node):
            above.setdefault(below, []).append(node)
    waiting = list(found)
    while waiting:
        for parent in above.get(waiting.pop(), ()):
            if parent not in found:
                found.add(parent)
                waiting.append(parent)
    return found


def _is_loose(node: Node) -> bool:
    return isinstance(node, Primitive) and (node.type in RANGES or node.type == "boolean" or node.logical == "uuid")


def _seen_through(node: Node) -> list[Node]:
    if isinstance(node, Record):
        return [field.type for field in node.fields]
    if isinstance(node, Union):
        return [branch for branch in node.branches if isinstance(branch, Record)]
    return [node.items] if isinstance(node, Array) else [node.values] if isinstance(node, Map) else []


def nested_at_most(value: Any, levels: int) -> None:
    """Raises `EncodeError` for what lies deeper, or contains itself. Looks level by level, without any stack."""
    layer: list[Any] = [value]
    for _ in range(levels):
        layer = [below for each in layer for below in _inside(each) if isinstance(below, dict | list | tuple)]
        if not layer:
            return
    raise EncodeError(f"its parts lie within one another deeper than {levels} levels, or contain themselves")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return cast("Mapping[Any, Any]", value).values()
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()


def _integer(value: Any, what: str, low: int, high: int, logical: bool) -> None:
    if not isinstance(value, int):
        if logical and not isinstance(value, float):
            return  # a date, a time: fastavro makes a number of it
        _refuse(value, what, "a whole number")
    if not low <= value <= high:
        raise EncodeError(f"{what}: a number that does not fit into {32 if high < 2**31 else 64} bits")


def _boolean(value: Any, what: str) -> None:
    _refuse(value, what, "True or False")


def _is_uuid(value: str, what: str) -> None:
    try:
        uuid.UUID(value)
    except ValueError:
        raise EncodeError(f"{what}: a text that is no UUID") from None


def _refuse(value: Any, what: str, wanted: str) -> NoReturn:
    raise EncodeError(f"{what}: {wanted} is written here, not {type(value).__name__}")
