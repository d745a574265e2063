"""A schema as fastavro takes it, with every name in full, so that nothing depends on how names are resolved there."""

from __future__ import annotations

from typing import Any, Final

from waybill_schema_registry.formats.avro.schema import Array, Enum, Field, Fixed, Map, Node, Primitive, Record, Union

__all__ = ["TooDeep", "for_fastavro"]

DEEPEST: Final = 100
LOGICAL: Final = ("logicalType", "precision", "scale")


class TooDeep(Exception):
    """fastavro would not survive it: it calls itself for each level."""


def for_fastavro(root: Node, *, logical: bool = False, defaults: bool = True) -> Any:
    """Raises `TooDeep`. logical: whether logical types stay; else data are what they are made of. defaults: of fields, which
    are of no use to a writer."""
    return Writing(logical=logical, defaults=defaults).node(root, 0)


class Writing:
    """Of one schema. A named type is written once, and then named."""

    def __init__(self, *, logical: bool, defaults: bool) -> None:
        self.kept, self.defaults = LOGICAL if logical else (), defaults
        self.named: set[str] = set()

    def node(self, node: Node, depth: int) -> Any:
        if depth > DEEPEST:
            raise TooDeep
        if isinstance(node, Union):
            return [self.node(branch, depth + 1) for branch in node.branches]
        kept = {name: node.properties[name] for name in self.kept if name in node.properties}
        if isinstance(node, Primitive):
            return {"type": node.type, **kept} if kept else node.type
        if isinstance(node, Array):
            return {"type": "array", "items": self.node(node.items, depth + 1), **kept}
        if isinstance(node, Map):
            return {"type": "map", "values": self.node(node.values, depth + 1), **kept}
        name = qualified(node.fullname)
        if name in self.named:
            return name
        self.named.add(name)
        aliases = [qualified(alias) for alias in node.aliases]
        return {"type": node.type, "name": name, "aliases": aliases, **self.body(node, depth), **kept}

    def body(self, node: Record | Enum | Fixed, depth: int) -> dict[str, Any]:
        if isinstance(node, Record):
            return {"fields": [self.field(each, depth) for each in node.fields]}
        if isinstance(node, Fixed):
            return {"size": node.size}
        return {"symbols": list(node.symbols), **({} if node.default is None else {"default": node.default})}

    def field(self, field: Field, depth: int) -> dict[str, Any]:
        default = {"default": field.default} if field.has_default and self.defaults else {}
        return {"name": field.name, "type": self.node(field.type, depth + 1), "aliases": list(field.aliases), **default}


def qualified(fullname: str) -> str:
    """A name without a namespace could not be told from one of the namespace that it is used in."""
    return fullname if "." in fullname else f"_.{fullname}"
