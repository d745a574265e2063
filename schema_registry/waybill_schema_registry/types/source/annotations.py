"""Types of Avro as annotations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro.schema import Array, Fixed, Map, Node, Primitive, Union
from waybill_schema_registry.types.source.texts import literal

__all__ = ["annotation", "fixed", "kind_of", "precision_of"]

_PRIMITIVES: Mapping[str, str] = {
    "null": "None",
    "boolean": "bool",
    "int": "Int32",
    "long": "int",
    "float": "Float32",
    "double": "float",
    "bytes": "bytes",
    "string": "str",
}
_LOGICAL: Mapping[tuple[str, str], str] = {
    ("int", "date"): "date",
    ("int", "time-millis"): "Annotated[time, Millis()]",
    ("long", "time-micros"): "time",
    ("long", "timestamp-millis"): "Annotated[AwareDatetime, Millis()]",
    ("long", "timestamp-micros"): "AwareDatetime",
    ("long", "local-timestamp-millis"): "Annotated[NaiveDatetime, Millis()]",
    ("long", "local-timestamp-micros"): "NaiveDatetime",
    ("long", "timedelta-micros"): "timedelta",
    ("string", "uuid"): "UUID",
}


def annotation(node: Node, classes: Mapping[str, str]) -> str:
    """The annotation of a type. classes: full names to names of classes."""
    if isinstance(node, Union):
        if not node.branches:
            raise InvalidSchema("An empty union has no value, and no counterpart in Python")
        return " | ".join(annotation(branch, classes) for branch in node.branches)
    if isinstance(node, Array):
        return f"list[{annotation(node.items, classes)}]"
    if isinstance(node, Map):
        return f"dict[str, {annotation(node.values, classes)}]"
    if isinstance(node, Primitive):
        return _primitive(node)
    return classes[node.fullname]


def fixed(node: Fixed, named: str) -> list[str]:
    """What a fixed is `Annotated` of. named: its mark."""
    digits = precision_of(node)
    if digits is not None:
        return ["Decimal", f"Precision({digits[0]}, {digits[1]}, size={node.size})", named]
    logical = [f"Logical({literal(node.logical)})"] if node.logical else []
    return ["bytes", f"Fixed({node.size})", *logical, named]


def precision_of(node: Primitive | Fixed) -> tuple[int, int] | None:
    """Digits in all and after the point, if it is a decimal that is in order (Avro 1.12, §Decimal)."""
    precision, scale = _number(node.properties.get("precision")), _number(node.properties.get("scale", 0))
    if node.logical != "decimal" or precision is None or scale is None:
        return None
    if isinstance(node, Primitive) and node.type != "bytes":
        return None
    if precision < 1 or not 0 <= scale <= precision:
        return None
    if isinstance(node, Fixed) and 10**precision > 2 ** (8 * node.size - 1):
        return None
    return precision, scale


def kind_of(node: Primitive) -> str:
    """Its logical type, where Python has a class for that, else its own."""
    return node.logical if node.logical and (node.type, node.logical) in _LOGICAL else node.type


def _primitive(node: Primitive) -> str:
    digits = precision_of(node)
    if digits is not None:
        return f"Annotated[Decimal, Field(max_digits={digits[0]}, decimal_places={digits[1]})]"
    plain = _PRIMITIVES[node.type]
    if node.logical is None:
        return plain
    known = _LOGICAL.get((node.type, node.logical))
    return known or f"Annotated[{plain}, Logical({literal(node.logical)})]"


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
