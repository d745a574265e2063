"""Schemas and data at random: every type of Avro, with names, docs and defaults that are hard on whoever writes source."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

__all__ = ["Schemas", "datum"]

NAMES = (
    *(
        "id",
        "class",
        "None",
        "json",
        "copy",
        "_hidden",
        "__dunder__",
        "model_fields",
        "model_dump_x",
        "str",
        "datetime",
    ),
    *("orderId", "order_id", "status", "name", "value", "Field", "self", "lambda", "dict", "l", "x1"),
)
TYPES = ("Order", "order", "Line", "Status", "BaseModel", "Decimal", "str_", "_Private", "Payload", "class", "list")
SYMBOLS = ("A", "B", "paid", "None", "mro", "name", "value", "_sunder_", "__private", "title", "class")
NAMESPACES = ("eu", "shop", "shop.eu", "a.b_c")
TEXTS = (
    "",
    "plain",
    "two\nlines",
    '"""; import os; os.abort()  # ',
    "'; DROP TABLE orders; --",
    "\\",
    'ends with a quote"',
    "  indented",
    "Größe \u2013 \u2018quoted\u2019 \u202e\x00\x1b[31m",
    "{}%s${x}",
    "😀",
)
PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
LOGICAL = (
    *(
        ("int", "date"),
        ("int", "time-millis"),
        ("long", "time-micros"),
        ("string", "uuid"),
        ("long", "timedelta-micros"),
    ),
    *(("long", "timestamp-millis"), ("long", "timestamp-micros"), ("long", "local-timestamp-micros")),
    *(("long", "local-timestamp-millis"), ("long", "timestamp-nanos"), ("string", "date"), ("double", "celsius")),
)


class Schemas:
    """One random schema, by `any()`. defined: its named types."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.defined: dict[str, Any] = {}
        self.open: list[str] = []

    def record(self, depth: int = 3) -> Any:
        found, full = self._named("record")
        found["fields"] = []
        self.open.append(full)
        for name in self.random.sample(NAMES, self.random.randrange(5)):
            field: dict[str, Any] = {"name": name, "type": self.any(depth - 1)}
            if self.random.random() < 0.4:
                field["doc"] = self.random.choice(TEXTS[1:])
            if self.random.random() < 0.2:
                field["aliases"] = self.random.sample(("was", "before", "class"), self.random.randrange(1, 3))
            if self.random.random() < 0.5:
                self._give_default(field)
            found["fields"].append(field)
        self.open.pop()
        return found

    def any(self, depth: int = 3) -> Any:
        choices = ["primitive", "logical", "decimal", "enum", "fixed"]
        if depth > 0:
            choices += ["array", "map", "union", "union", "record", "record"]
        if self.defined:
            choices.append("again")
        return getattr(self, "_" + self.random.choice(choices))(depth)

    def _primitive(self, depth: int) -> Any:
        return self.random.choice(PRIMITIVES)

    def _logical(self, depth: int) -> Any:
        kind, logical = self.random.choice(LOGICAL)
        return {"type": kind, "logicalType": logical}

    def _decimal(self, depth: int) -> Any:
        precision = self.random.randrange(1, 12)
        scale = self.random.randrange(precision + 1)
        return {
            "type": "bytes",
            "logicalType": "decimal",
            "precision": precision,
            **({"scale": scale} if scale else {}),
        }

    def _array(self, depth: int) -> Any:
        return {"type": "array", "items": self.any(depth - 1)}

    def _map(self, depth: int) -> Any:
        return {"type": "map", "values": self.any(depth - 1)}

    def _record(self, depth: int) -> Any:
        return self.record(depth)

    def _union(self, depth: int) -> Any:
        found: dict[str, Any] = {}
        for _ in range(self.random.randrange(2, 5)):
            before = dict(self.defined)
            branch = self.any(min(depth - 1, 1))
            if isinstance(branch, list) or self._branch_name(branch) in found:
                self.defined = before
            else:
                found[self._branch_name(branch)] = branch
        branches = list(found.values())
        return branches if len(branches) > 1 else ["null", branches[0]] if branches and branches != ["null"] else "null"

    def _again(self, depth: int) -> Any:
        """A type once more: one that is not being described, or in a way that ends."""
        full = self.random.choice(sorted(self.defined))
        return ["null", full] if full in self.open else full

    def _enum(self, depth: int) -> Any:
        found, _ = self._named("enum")
        found["symbols"] = self.random.sample(SYMBOLS, self.random.randrange(1, 5))
        if self.random.random() < 0.3:
            found["default"] = self.random.choice(found["symbols"])
        return found

    def _fixed(self, depth: int) -> Any:
        found, _ = self._named("fixed")
        found["size"] = self.random.choice((1, 2, 12, 16))
        if self.random.random() < 0.3:
            found |= {"logicalType": "decimal", "precision": 2, "scale": 1}
        return found

    def _named(self, kind: str) -> tuple[dict[str, Any], str]:
        while True:
            name, namespace = self.random.choice(TYPES), self.random.choice(NAMESPACES)
            full = f"{namespace}.{name}" if namespace else name
            if full not in self.defined:
                break
            name = f"{name}{len(self.defined)}"
            full = f"{namespace}.{name}" if namespace else name
            if full not in self.defined:
                break
        found: dict[str, Any] = {"type": kind, "name": name, "namespace": namespace}
        if self.random.random() < 0.5:
            found["doc"] = self.random.choice(TEXTS[1:])
        if self.random.random() < 0.2:
            found["aliases"] = [f"{namespace}.Before" if namespace else "Before"]
        self.defined[full] = found
        return found, full

    @staticmethod
    def _branch_name(branch: Any) -> str:
        if isinstance(branch, str):
            return branch
        if branch["type"] in ("record", "enum", "fixed"):
            return f"{branch['namespace']}.{branch['name']}".lstrip(".")
        return str(branch["type"])

    def _give_default(self, field: dict[str, Any]) -> None:
        try:
            field["default"] = self._default(field["type"])
        except LookupError:
            return

    def _default(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return self._default(schema[0])
        if isinstance(schema, str) and schema in self.defined:
            if schema in self.open:
                raise LookupError
            return self._default(self.defined[schema])
        kind = schema if isinstance(schema, str) else schema["type"]
        if kind == "record":
            if f"{schema['namespace']}.{schema['name']}".lstrip(".") in self.open:
                raise LookupError
            return {
                field["name"]: field["default"] if "default" in field else self._default(field["type"])
                for field in schema["fields"]
            }
        logical = schema.get("logicalType") if isinstance(schema, dict) else None
        if logical == "uuid":
            return str(uuid.UUID(int=self.random.getrandbits(128)))
        if logical == "decimal":
            return "\u0003" if kind == "bytes" else "\u0000" * (schema["size"] - 1) + "\u0003"
        return {
            "null": lambda: None,
            "boolean": lambda: self.random.random() < 0.5,
            "int": lambda: self.random.randrange(20_000),
            "long": lambda: self.random.randrange(2**36),
            "float": lambda: 0.5,
            "double": lambda: self.random.choice((0.1, 1.0, -2.5e300)),
            "bytes": lambda: "\u0000a\u00ff",
            "string": lambda: self.random.choice(TEXTS),
            "array": lambda: [] if self.random.random() < 0.5 else [self._default(schema["items"])],
            "map": lambda: {} if self.random.random() < 0.5 else {"k\n": self._default(schema["values"])},
            "enum": lambda: self.random.choice(schema["symbols"]),
            "fixed": lambda: "\u00fe" * schema["size"],
        }[kind]()


def datum(schema: Any, named: dict[str, Any], chance: random.Random, depth: int = 0) -> Any:
    """A random datum of a schema, as fastavro's writer takes it."""
    if isinstance(schema, list):
        branch = schema[0] if depth > 6 and "null" not in schema else "null" if depth > 6 else chance.choice(schema)
        name = Schemas._branch_name(branch)
        value = datum(branch, named, chance, depth + 1)
        return value if name == "null" else (name, value)
    if isinstance(schema, str) and schema in named:
        return datum(named[schema], named, chance, depth)
    kind = schema if isinstance(schema, str) else schema["type"]
    logical = schema.get("logicalType") if isinstance(schema, dict) else None
    if kind == "record":
        return {field["name"]: datum(field["type"], named, chance, depth + 1) for field in schema["fields"]}
    if (kind, logical) in LOGICAL_DATA:
        return LOGICAL_DATA[kind, logical](chance)
    if logical == "decimal":
        scale = schema.get("scale", 0)
        return Decimal(chance.randrange(-(10 ** schema["precision"]) + 1, 10 ** schema["precision"])).scaleb(-scale)
    several = range(chance.randrange(3) if depth < 6 else 0)
    return {
        "null": lambda: None,
        "boolean": lambda: chance.random() < 0.5,
        "int": lambda: chance.randrange(-(2**31), 2**31),
        "long": lambda: chance.randrange(-(2**63), 2**63),
        "float": lambda: chance.choice((0.5, -0.0, 2.0**100)),
        "double": lambda: chance.uniform(-1e9, 1e9),
        "bytes": lambda: chance.randbytes(3),
        "string": lambda: chance.choice(TEXTS),
        "array": lambda: [datum(schema["items"], named, chance, depth + 1) for _ in several],
        "map": lambda: {f"k{i}": datum(schema["values"], named, chance, depth + 1) for i in several},
        "enum": lambda: chance.choice(schema["symbols"]),
        "fixed": lambda: chance.randbytes(schema["size"]),
    }[kind]()


def _millis(chance: random.Random) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=chance.randrange(-(10**13), 10**13))


LOGICAL_DATA = {
    ("int", "date"): lambda chance: date.fromordinal(chance.randrange(1, 3_000_000)),
    ("int", "time-millis"): lambda chance: time(chance.randrange(24), 59, 1, chance.randrange(1000) * 1000),
    ("long", "time-micros"): lambda chance: time(chance.randrange(24), 59, 1, chance.randrange(1_000_000)),
    ("string", "uuid"): lambda chance: uuid.UUID(int=chance.getrandbits(128)),
    ("long", "timedelta-micros"): lambda chance: chance.randrange(-(10**15), 10**15),
    ("long", "timestamp-millis"): _millis,
    ("long", "timestamp-micros"): lambda chance: _millis(chance) + timedelta(microseconds=chance.randrange(1000)),
    ("long", "local-timestamp-micros"): lambda chance: _millis(chance).replace(tzinfo=None),
    ("long", "local-timestamp-millis"): lambda chance: _millis(chance).replace(tzinfo=None),
}
