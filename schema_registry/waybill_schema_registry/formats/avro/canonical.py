"""The parsing canonical form (Avro 1.12, §Parsing Canonical Form for Schemas): what a reader needs, and nothing else."""

from __future__ import annotations

from waybill_schema_registry.formats.avro.schema import Array, Enum, Map, Named, Node, Primitive, Record, Union
from waybill_schema_registry.formats.avro.stackless import Step, run

__all__ = ["canonical_of"]


def canonical_of(root: Node) -> str:
    """The canonical form of a schema. Types of other texts are written out where they are met first."""
    return run(canonical(root, set()))


def canonical(node: Node, known: set[str]) -> Step[str]:
    if isinstance(node, Primitive):
        return f'"{node.type}"'
    if isinstance(node, Union):
        branches: list[str] = []
        for branch in node.branches:
            branches += ((yield canonical(branch, known)),)
        return f"[{','.join(branches)}]"
    if isinstance(node, Array):
        return f'{{"type":"array","items":{yield canonical(node.items, known)}}}'
    if isinstance(node, Map):
        return f'{{"type":"map","values":{yield canonical(node.values, known)}}}'
    name = f'"{node.fullname}"'
    if node.fullname in known:
        return name
    known.add(node.fullname)
    return f'{{"name":{name},"type":"{node.type}",{yield body(node, known)}}}'


def body(node: Named, known: set[str]) -> Step[str]:
    if isinstance(node, Record):
        fields: list[str] = []
        for field in node.fields:
            fields += (f'{{"name":"{field.name}","type":{yield canonical(field.type, known)}}}',)
        return f'"fields":[{",".join(fields)}]'
    if isinstance(node, Enum):
        symbols = ",".join(f'"{symbol}"' for symbol in node.symbols)
        return f'"symbols":[{symbols}]'
    return f'"size":{node.size}'
