"""The smallest thing a writer can write that has something at a given place: bytes, by the rules of Avro's binary encoding.

Everywhere else it takes what is shortest: the cheapest branch, the empty array.
"""

from __future__ import annotations

import struct
from typing import Final

from waybill_schema_registry.formats.avro.schema import (
    Array,
    Enum,
    Fixed,
    Map,
    Node,
    Primitive,
    Record,
    Union,
    children,
    nodes,
)

__all__ = ["Impossible", "Specimens"]

LARGEST: Final = 1 << 16
DEEPEST: Final = 100
ENDLESS: Final = 1 << 62
ROUNDS: Final = 50
PRIMITIVE: Final[dict[str, bytes]] = {
    "null": b"",
    "boolean": b"\x01",
    "int": b"\x02",
    "long": b"\x02",
    "float": struct.pack("<f", 1.5),
    "double": struct.pack("<d", 1.5),
    "bytes": b"\x02a",
    "string": b"\x02a",
}
UUID: Final = b"\x48" + b"00000000-0000-4000-8000-000000000001"


class Impossible(Exception):
    """Nothing finite and small can be written there."""


def number(value: int) -> bytes:
    """An int or a long: zigzag, seven bits a byte, lowest first."""
    value = value << 1 if value >= 0 else (-value << 1) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


TELLING: Final = {"int": number((1 << 31) - 1), "long": number((1 << 63) - 1), "bytes": b"\x02\xff"}
"""Large enough to be no day, no time, and not to fit into a float; and no UTF-8."""


class Specimens:
    """Of one writer. telling: values at the end of a path are such that reading them as something else shows."""

    def __init__(self, writer: Node, *, telling: bool = False) -> None:
        self.writer, self.telling = writer, telling
        self.sizes = sizes(writer)

    def at(self, path: list[str], symbol: str | None = None) -> bytes:
        """Something that goes through all of `path`, the steps of a location in the writer. symbol: where that ends at an
        enum, what it says. Raises `Impossible`."""
        return self._encode(self.writer, path, symbol, 0)

    def _encode(self, node: Node, path: list[str] | None, symbol: str | None, depth: int) -> bytes:
        """path: None beside the path, empty at its end."""
        if depth > DEEPEST:
            raise Impossible("it is too deep")
        if isinstance(node, Record):
            return self._record(node, path, symbol, depth)
        if isinstance(node, Union):
            index, path = (int(path[0]), path[1:]) if path and path[0].isdigit() else (self._cheapest(node), path)
            return number(index) + self._encode(node.branches[index], path, symbol, depth + 1)
        if isinstance(node, Array | Map):
            if not path or path[0] not in ("items", "values"):
                return b"\x00"
            inside, key = (node.items, b"") if isinstance(node, Array) else (node.values, PRIMITIVE["string"])
            return number(1) + key + self._encode(inside, path[1:], symbol, depth + 1) + b"\x00"
        if isinstance(node, Enum):
            return number(node.symbols.index(symbol) if symbol in node.symbols and path is not None else 0)
        return fixed(node) if isinstance(node, Fixed) else primitive(node, telling=self.telling and path is not None)

    def _record(self, node: Record, path: list[str] | None, symbol: str | None, depth: int) -> bytes:
        chosen = int(path[1]) if path and path[0] == "fields" else None
        out = bytearray()
        for index, each in enumerate(node.fields):
            if index != chosen and self.sizes[id(each.type)] > LARGEST:
                raise Impossible("what else must be written there is too large, or never ends")
            way = path[3:] if path and index == chosen else None
            out += self._encode(each.type, way, symbol, depth + 1)
            if len(out) > LARGEST:
                raise Impossible("it is too large")
        return bytes(out)

    def _cheapest(self, node: Union) -> int:
        if not node.branches:
            raise Impossible("an empty union has no values")
        return min(range(len(node.branches)), key=lambda index: self.sizes[id(node.branches[index])])


def fixed(node: Fixed) -> bytes:
    if node.size > LARGEST:
        raise Impossible("it is too large")
    return b"\x01" * node.size


def primitive(node: Primitive, *, telling: bool) -> bytes:
    if node.type == "string" and node.logical == "uuid":
        return UUID
    return TELLING.get(node.type, PRIMITIVE[node.type]) if telling and not node.logical else PRIMITIVE[node.type]


def sizes(root: Node) -> dict[int, int]:
    """How long the shortest value of each node is, at most: what ends is found from what is inside of it, round by round."""
    everything = list(nodes(root))
    found = dict.fromkeys(map(id, everything), ENDLESS)
    for _ in range(ROUNDS):
        before = list(found.values())
        for node in reversed(everything):
            found[id(node)] = min(found[id(node)], shortest(node, found))
        if list(found.values()) == before:
            break
    return found


def shortest(node: Node, found: dict[int, int]) -> int:
    if isinstance(node, Record):
        return 1 + sum(found[id(each)] for each in children(node))
    if isinstance(node, Union):
        return 1 + min((found[id(each)] for each in node.branches), default=ENDLESS)
    return node.size if isinstance(node, Fixed) else 1
