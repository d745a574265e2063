"""Whether a default is a value of its field's type (§Complex Types, Records; Java's `Schema.isValidDefault`)."""

from __future__ import annotations

import re
from typing import Any

from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro.members import shown
from waybill_schema_registry.formats.avro.schema import ABSENT, Array, Field, Map, Node, Primitive, Record, Union
from waybill_schema_registry.formats.avro.stackless import Step, run

__all__ = ["Fitting", "check_default", "number_of"]

NUMBER = re.compile(r"\s*([+-]?(?:NaN|Infinity|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))[fFdD]?\s*", re.ASCII)
MOST = 1_000_000
LIMITS = {"int": 2**31, "long": 2**63}


def number_of(kind: Node, default: Any) -> Any:
    """The default of a float that is given as text, as a number: `"NaN"` cannot be written otherwise. Java does so."""
    if isinstance(default, str) and isinstance(kind, Primitive) and kind.type in ("float", "double"):
        number = NUMBER.fullmatch(default)
        return float(number[1]) if number else default
    return default


def check_default(field: Field, fitting: Fitting) -> None:
    """Raises `InvalidSchema` if the default is none of its field's type; of a union, any branch will do."""
    if not run(fitting.fits(field.type, field.default)):
        raise InvalidSchema(
            f"The default of the field {shown(field.name)}, {shown(field.default)}, is no {described(field.type):.200}: "
            "give one of the field's type, or none"
        )


def described(kind: Node) -> str:
    if isinstance(kind, Union):
        return " or ".join(described(branch) for branch in kind.branches) or "value of an empty union"
    return kind.type if isinstance(kind, Primitive | Array | Map) else f"{kind.type} {kind.fullname}"


class Fitting:
    """The defaults of one schema. Every pair of a type and a value is looked at once, so that unions in unions cannot
    multiply, and there is an end to pairs."""

    def __init__(self) -> None:
        self.seen: dict[tuple[int, int], bool] = {}
        self.left = MOST

    def fits(self, kind: Node, value: Any) -> Step[bool]:
        self.left -= 1
        if self.left < 0:
            raise InvalidSchema("The defaults of the schema are too much to check: make them, or their unions, smaller")
        if isinstance(kind, Union):
            for branch in kind.branches:
                if (yield self.fits(branch, value)):
                    return True
            return False
        if not isinstance(kind, Array | Map | Record):
            return plain(kind, value)
        pair = (id(kind), id(value))
        if pair not in self.seen:
            self.seen[pair] = False  # a default that contains itself fits nothing
            self.seen[pair] = yield self.parts_fit(kind, value)
        return self.seen[pair]

    def parts_fit(self, kind: Array | Map | Record, value: Any) -> Step[bool]:
        if not isinstance(value, list if isinstance(kind, Array) else dict):
            return False
        for part, each in parts(kind, value):
            if each is ABSENT or not (yield self.fits(part, each)):
                return False
        return True


def parts(kind: Array | Map | Record, value: Any) -> list[tuple[Node, Any]]:
    if isinstance(kind, Array):
        return [(kind.items, each) for each in value]
    if isinstance(kind, Map):
        return [(kind.values, each) for each in value.values()]
    return [(field.type, value.get(field.name, field.default)) for field in kind.fields]


def plain(kind: Node, value: Any) -> bool:
    """Java takes any text for an enum or a fixed here, and any number for a float."""
    if kind.type in LIMITS:
        limit = LIMITS[kind.type]
        return isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit
    if kind.type in ("float", "double"):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind.type == "boolean":
        return isinstance(value, bool)
    return value is None if kind.type == "null" else isinstance(value, str)
