"""Where in a schema something is, in the words of who wrote it: fields and types instead of numbers."""

from __future__ import annotations

from waybill_schema_registry.formats.avro.schema import Array, Enum, Fixed, Map, Node, Record, Union
from waybill_schema_registry.formats.avro.walking import steps

__all__ = ["field_at", "words_for"]


def words_for(root: Node, location: str) -> str:
    """`field vat of Order`, or `Order`; empty where a schema without a name is meant as a whole."""
    record, field, node = _last(root, location)
    if record is not None:
        return f"field {field} of {record}"
    return node.fullname if isinstance(node, Record | Enum | Fixed) else ""


def field_at(root: Node, location: str) -> str:
    """The name of the last field on the way; empty if there is none."""
    return _last(root, location)[1]


def _last(root: Node, location: str) -> tuple[str | None, str, Node]:
    node, record, field = root, None, ""
    rest = steps(location)
    while rest:
        step = rest.pop(0)
        if (
            isinstance(node, Record)
            and step == "fields"
            and rest
            and rest[0].isdigit()
            and int(rest[0]) < len(node.fields)
        ):
            one = node.fields[int(rest.pop(0))]
            record, field, node = node.name, one.name, one.type
            rest = rest[1:]  # `type`, if it goes on
        elif isinstance(node, Union) and step.isdigit() and int(step) < len(node.branches):
            node = node.branches[int(step)]
        elif isinstance(node, Array) and step == "items":
            node = node.items
        elif isinstance(node, Map) and step == "values":
            node = node.values
    return record, field, node
