"""Names that are used before they are defined: Java's parser takes them since 1.12."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro.checks import check_union
from waybill_schema_registry.formats.avro.schema import Array, Map, Named, Node, Record, Union, nodes

__all__ = ["Unknown", "resolve"]


@dataclass(frozen=True, slots=True, eq=False)
class Unknown:
    """Stands for a type until it is known."""

    fullname: str


def resolve(root: Node, named: Mapping[str, Named]) -> Node:
    """The same schema with every `Unknown` replaced. Raises `InvalidSchema` where there is no such type."""

    def known(node: Any) -> Any:
        if not isinstance(node, Unknown):
            return node
        found = named.get(node.fullname)
        if found is None:
            raise InvalidSchema(
                f"There is no type {node.fullname!r:.200}: define it, or give the schema that does as a reference"
            )
        return found

    root = known(root)
    for node in list(nodes(root)):
        if isinstance(node, Record):
            for field in node.fields:
                object.__setattr__(field, "type", known(field.type))
        elif isinstance(node, Union):
            object.__setattr__(node, "branches", tuple(known(branch) for branch in node.branches))
            check_union(node)
        elif isinstance(node, Array):
            object.__setattr__(node, "items", known(node.items))
        elif isinstance(node, Map):
            object.__setattr__(node, "values", known(node.values))
    return root
