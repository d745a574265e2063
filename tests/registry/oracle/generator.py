"""Random Avro schemas, fast: names few, so that they meet; references forwards, backwards and into themselves."""

from __future__ import annotations

import random
from typing import Any

from tests.registry.schemas import DEFAULTS, PRIMITIVES

NAMED = ("record", "enum", "fixed", "error")
LOGICAL: tuple[dict[str, Any], ...] = (
    {"type": "int", "logicalType": "date"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "string", "logicalType": "uuid"},
    {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2},
    {"type": "bytes", "logicalType": "decimal", "precision": 10},
    {"type": "string", "logicalType": "nobody-knows-it"},
)
NAMES = ("A", "B", "C", "D", "E")
FIELDS = ("f", "g", "h", "i", "j", "k")
SYMBOLS = ("A", "B", "C", "D", "E")
NAMESPACES = ("a", "b", "a.b")

TEXTS = ("", "plain", 'a "quoted" \\ one', "line\nline\ttab", "Größe €", "😀", "\x00\x1f\x7f\x80\u2028", "</a&'>")
NUMBERS: dict[str, tuple[Any, ...]] = {
    "int": (0, -1, 2**31 - 1, -(2**31), 1.0, 2**31),
    "long": (0, 2**40, -(2**63), 2**63 - 1, 2**63, 1.5),
    "float": (0, -0.0, 0.1, 1e10, 1e-7, 123456789, 3.4e38, 1e39),
    "double": (1, 0.1, 1e7, 1e20, 1.5e-5, 1e300, 2**70, 100.0, 1234567.0, 12345678.9),
}
PROPERTIES: tuple[Any, ...] = (1, 1.0, 1e25, 2**60, True, None, "x", [1, [2, {}]], {"b": 1, "a": {"c": None}}, *TEXTS)


def full(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def space(node: dict[str, Any], outer: str) -> tuple[str, str]:
    """The full name of a named type and the namespace of what is inside of it."""
    name, given = node["name"], node.get("namespace", outer)
    whole = full(name, given)
    return whole, whole.rpartition(".")[0]


class Generator:
    """One schema after another, always the same ones for the same random numbers."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.defined: list[str] = []

    def schema(self, depth: int = 3) -> Any:
        self.defined = []
        if self.rng.random() < 0.75:
            return self.record(depth, "")
        return self.type(depth, "")

    def type(self, depth: int, outer: str) -> Any:
        roll = self.rng.random()
        if depth <= 0 or roll < 0.3:
            return self.leaf(outer)
        if roll < 0.42:
            return self.annotated({"type": "array", "items": self.type(depth - 1, outer)})
        if roll < 0.5:
            return {"type": "map", "values": self.type(depth - 1, outer)}
        if roll < 0.7:
            return self.union(depth - 1, outer)
        if roll < 0.8:
            return self.enum(outer)
        if roll < 0.87:
            return self.fixed(outer)
        return self.record(depth - 1, outer)

    def leaf(self, outer: str) -> Any:
        roll = self.rng.random()
        if roll < 0.15:
            return dict(self.rng.choice(LOGICAL))
        if roll < 0.35 and self.defined:
            name = self.rng.choice(self.defined)
            inside, _, short = name.rpartition(".")
            return short if inside == outer else name
        return self.rng.choice(PRIMITIVES)

    def union(self, depth: int, outer: str) -> list[Any]:
        branches: list[Any] = []
        seen: set[str] = set()
        for _ in range(self.rng.choice((1, 2, 2, 3, 4)) if self.rng.random() < 0.97 else 0):
            before = len(self.defined)
            branch = self.type(depth, outer)
            if not isinstance(branch, list) and (kind := self.kind(branch, outer)) not in seen:
                seen.add(kind)
                branches.append(branch)
            else:
                del self.defined[before:]
        return branches

    def kind(self, branch: Any, outer: str) -> str:
        """What must not be twice in a union."""
        if isinstance(branch, str):
            return branch if branch in PRIMITIVES else full(branch, outer)
        return space(branch, outer)[0] if branch["type"] in NAMED else branch["type"]

    def named(self, type_name: str, outer: str) -> dict[str, Any]:
        """The head of a named type under a name that is still free."""
        while True:
            node = {"type": type_name, "name": self.rng.choice(NAMES)}
            if len(self.defined) > 4:
                node["name"] += str(self.rng.randrange(1000))
            if self.rng.random() < 0.3:
                node["namespace"] = self.rng.choice(("", *NAMESPACES))
            elif self.rng.random() < 0.1:
                node["name"] = f"{self.rng.choice(NAMESPACES)}.{node['name']}"
            whole, _ = space(node, outer)
            if whole not in self.defined:
                self.defined.append(whole)
                break
        if self.rng.random() < 0.15:
            node["aliases"] = self.aliases()
        return self.annotated(node)

    def annotated(self, node: dict[str, Any]) -> dict[str, Any]:
        """With what means nothing to a reader, now and then."""
        if self.rng.random() < 0.08:
            node["doc"] = self.rng.choice(TEXTS)
        if self.rng.random() < 0.08:
            node[self.rng.choice(("x", "unit", "é", "logicalType"))] = self.rng.choice(PROPERTIES)
        return node

    def aliases(self) -> list[str]:
        names = [*NAMES, *(f"{space}.{name}" for space in NAMESPACES for name in NAMES[:3])]
        return self.rng.sample(names, self.rng.choice((1, 1, 2)))

    def enum(self, outer: str) -> dict[str, Any]:
        symbols = self.rng.sample(SYMBOLS, self.rng.randint(1, 5))
        node = {**self.named("enum", outer), "symbols": symbols}
        if self.rng.random() < 0.3:
            node["default"] = self.rng.choice(symbols)
        return node

    def fixed(self, outer: str) -> dict[str, Any]:
        node: dict[str, Any] = {**self.named("fixed", outer), "size": self.rng.choice((1, 4, 8, 12, 16))}
        if node["size"] == 12 and self.rng.random() < 0.5:
            node["logicalType"] = "duration"
        elif self.rng.random() < 0.12:
            node |= {"logicalType": "decimal", "precision": 2, "scale": self.rng.randint(0, 2)}
        return node

    def record(self, depth: int, outer: str) -> dict[str, Any]:
        node = self.named("record", outer)
        _, inner = space(node, outer)
        names = self.rng.sample(FIELDS, self.rng.randint(0, 4))
        node["fields"] = [self.field(name, depth, inner) for name in names]
        if self.rng.random() < 0.1:
            node["fields"].append(self.recursive(node["name"].rpartition(".")[2]))
        return node

    def recursive(self, name: str) -> dict[str, Any]:
        types = (["null", name], {"type": "array", "items": name}, {"type": "map", "values": [name, "int"]}, name)
        return {"name": "self", "type": self.rng.choice(types)}

    def field(self, name: str, depth: int, outer: str) -> dict[str, Any]:
        node = {"name": name, "type": self.type(depth, outer)}
        if self.rng.random() < 0.4:
            self.set_default(node)
        if self.rng.random() < 0.03:
            node["aliases"] = self.rng.sample(FIELDS, 1)
        if self.rng.random() < 0.05:
            node["order"] = self.rng.choice(("ascending", "descending", "ignore"))
        return self.annotated(node)

    def set_default(self, field: dict[str, Any]) -> None:
        """A default that fits, where one is easily found; now and then one that may not."""
        if self.rng.random() < 0.02:
            field["default"] = self.rng.choice(list(DEFAULTS.values()))
            return
        node: Any = field["type"]
        field.pop("default", None)
        while isinstance(node, list) and node:
            node = node[0] if self.rng.random() < 0.9 else self.rng.choice(node)
        if isinstance(node, dict):
            if node["type"] == "enum":
                field["default"] = self.rng.choice(node["symbols"])
            elif node["type"] == "fixed":
                field["default"] = "\x01" * node["size"]
            elif node["type"] == "record" and not node["fields"]:
                field["default"] = {}
            elif node["type"] == "record":
                field["default"] = {each["name"]: DEFAULTS.get(str(each["type"]), 0) for each in node["fields"]}
            elif node["type"] == "array" and self.rng.random() < 0.5:
                field["default"] = [DEFAULTS.get(str(node["items"]), {})] * 2
            elif node["type"] == "map" and self.rng.random() < 0.5:
                field["default"] = {text: DEFAULTS.get(str(node["values"]), []) for text in TEXTS[:3]}
            node = node["type"] if "default" not in field else None
        if isinstance(node, str) and node in DEFAULTS:
            field["default"] = DEFAULTS[node]
            if self.rng.random() < 0.12:
                field["default"] = self.rng.choice(
                    NUMBERS.get(node, TEXTS if node in ("bytes", "string") else PROPERTIES)
                )
