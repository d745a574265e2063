"""What can be said of a schema's data without any of it: how few bytes a value takes, and what comes of it for nothing. Pure."""

from __future__ import annotations

from waybill_schema_registry.formats.avro.schema import Field, Fixed, Node, Primitive, Record, Union, children

__all__ = ["Measures", "cyclic", "precision_of", "safe_bytes"]

SIZES = {"null": 0, "boolean": 1, "float": 4, "double": 8}
"""Bytes of the primitives that always take as many."""


class Measures:
    """Of the nodes of one schema."""

    def __init__(self, root: Node) -> None:
        self.cyclic = cyclic(root)
        self._least: dict[int, int] = {}
        self._free: dict[int, int] = {}
        self._exact: dict[int, int | None] = {}
        self._levels: dict[int, int] = {}

    def exact(self, node: Node) -> int | None:
        """The bytes that each value takes; `None`: it differs."""
        if isinstance(node, Fixed):
            return None if precision_of(node) and node.size > safe_bytes(node) else node.size
        if isinstance(node, Primitive):
            return None if node.type == "boolean" else SIZES.get(node.type)  # a boolean is looked at
        if not isinstance(node, Record) or node in self.cyclic:
            return None
        if id(node) not in self._exact:
            sizes = [self.exact(field.type) for field in node.fields]
            self._exact[id(node)] = None if None in sizes else sum(size or 0 for size in sizes)
        return self._exact[id(node)]

    def least(self, node: Node) -> int:
        """The bytes that a value takes at least."""
        if isinstance(node, Fixed):
            return node.size
        if isinstance(node, Primitive):
            return SIZES.get(node.type, 1)
        if not isinstance(node, Record):
            return 1
        if id(node) not in self._least:
            self._least[id(node)] = 0  # met again inside of itself: it has no end, and no value
            self._least[id(node)] = sum(self.least(field.type) for field in node.fields)
        return self._least[id(node)]

    def free(self, node: Node) -> int:
        """The fields that a value brings along and takes no bytes for, arrays and maps in it not counted."""
        if isinstance(node, Union):
            return sum(self.free(branch) for branch in node.branches)
        if not isinstance(node, Record):
            return 0
        if id(node) not in self._free:
            self._free[id(node)] = 0
            self._free[id(node)] = sum(self._free_of(field) for field in node.fields)
        return self._free[id(node)]

    def levels(self, node: Node) -> int:
        """How many nodes lie within one another, up to the next record that contains itself."""
        if id(node) not in self._levels:
            below = [self.levels(each) for each in children(node) if each not in self.cyclic]
            self._levels[id(node)] = 1 + max(below, default=0)
        return self._levels[id(node)]

    def _free_of(self, field: Field) -> int:
        return self.free(field.type) + (self.least(field.type) == 0)


def precision_of(node: Node) -> int | None:
    """The digits that a decimal may have; `None`: it is none."""
    precision = node.properties.get("precision") if node.logical == "decimal" else None
    return precision if isinstance(precision, int) and precision > 0 else None


def safe_bytes(node: Node) -> int:
    """So many bytes cannot hold more digits than the decimal's precision."""
    return (int(10 ** (precision_of(node) or 1)).bit_length()) // 8


def cyclic(root: Node) -> set[Node]:
    """The records that contain themselves, however far below: Tarjan's strongly connected components, without recursion."""
    index: dict[Node, int] = {}
    low: dict[Node, int] = {}
    stack: list[Node] = []
    waiting: set[Node] = set()
    found: set[Node] = set()
    work: list[tuple[Node, list[Node]]] = [(root, list(children(root)))]
    while work:
        node, rest = work[-1]
        if node not in index:
            index[node] = low[node] = len(index)
            stack.append(node)
            waiting.add(node)
        if rest:
            below = rest.pop()
            if below not in index:
                work.append((below, list(children(below))))
            elif below in waiting:
                low[node] = min(low[node], index[below])
            continue
        work.pop()
        if work:
            low[work[-1][0]] = min(low[work[-1][0]], low[node])
        if low[node] == index[node]:
            part = stack[stack.index(node) :]
            del stack[-len(part) :]
            waiting.difference_update(part)
            if len(part) > 1 or node in children(node):
                found.update(part)
    return {node for node in found if isinstance(node, Record)}
