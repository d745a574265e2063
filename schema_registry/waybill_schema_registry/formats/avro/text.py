"""Schemas as texts, byte for byte as Avro Java's `Schema.toString()` writes them.

Keys have an order of their own, a namespace is written only where it differs from the one around it, and what was written
once is a name from then on. So texts that differ only in such things become one, which decides a schema's id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from waybill_schema_registry.formats.avro import names
from waybill_schema_registry.formats.avro.java_json import dumps, quoted
from waybill_schema_registry.formats.avro.schema import (
    Array,
    Field,
    Fixed,
    Map,
    Named,
    Node,
    Primitive,
    Record,
    Union,
)
from waybill_schema_registry.formats.avro.stackless import Step, given, run

__all__ = ["Text", "same_definition", "text_of"]


def text_of(root: Node, known: Iterable[str] = ()) -> str:
    """The text of a schema. known: full names of types that are not to be written out, since others define them."""
    return run(Text(known).node(root, ""))


class Text:
    """Writes one schema. known: the full names that need no definition any more. Its last methods say what is written of
    what has no part in the structure; others may say otherwise. alike: they do not, so what others wrote will do."""

    alike = True

    def __init__(self, known: Iterable[str] = ()) -> None:
        self.known = set(known)

    def node(self, node: Node, namespace: str) -> Step[str]:
        if isinstance(node, Primitive):
            name = quoted(node.type)
            return f'{{"type":{name}{self.properties(node)}}}' if node.properties else name
        if isinstance(node, Union):
            branches: list[str] = []
            for branch in node.branches:
                branches += ((yield self.node(branch, namespace)),)
            return f"[{','.join(branches)}]"
        if isinstance(node, Array):
            return f'{{"type":"array","items":{yield self.node(node.items, namespace)}{self.properties(node)}}}'
        if isinstance(node, Map):
            return f'{{"type":"map","values":{yield self.node(node.values, namespace)}{self.properties(node)}}}'
        if node.fullname in self.known:
            return quoted(names.shortened(node.fullname, namespace))
        self.known.add(node.fullname)
        definition: str = yield self.definition(node, namespace)
        return definition

    def definition(self, node: Named, namespace: str) -> Step[str]:
        kind = "error" if isinstance(node, Record) and node.error else node.type
        space = f',"namespace":{quoted(node.namespace)}' if node.namespace != namespace else ""
        body = yield self.body(node)
        rest = f"{self.properties(node)}{self.aliases(node)}"
        return f'{{"type":"{kind}","name":{quoted(node.name)}{space}{self.doc(node)},{body}{rest}}}'

    def body(self, node: Named) -> Step[str]:
        if isinstance(node, Record):
            fields: list[str] = []
            for field in node.fields:
                fields += ((yield self.field(field, node.namespace)),)
            return f'"fields":[{",".join(fields)}]'
        if isinstance(node, Fixed):
            return f'"size":{node.size}'
        default = f',"default":{quoted(node.default)}' if node.default is not None else ""
        return f'"symbols":[{",".join(map(quoted, node.symbols))}]{default}'

    def field(self, field: Field, namespace: str) -> Step[str]:
        if field.written is None or not self.alike:
            text: str = yield self.new_field(field, namespace)
            return text
        if not field.written:
            object.__setattr__(field, "written", (yield self.new_field(field, namespace)))
        return field.written

    def new_field(self, field: Field, namespace: str) -> Step[str]:
        kind = yield self.node(field.type, namespace)
        doc = f',"doc":{quoted(field.doc)}' if field.doc is not None else ""
        default = f',"default":{self.default(field)}' if field.has_default else ""
        order = f',"order":"{field.order}"' if field.order != "ascending" else ""
        rest = f"{doc}{default}{order}{self.field_aliases(field)}{self.properties(field)}"
        return f'{{"name":{quoted(field.name)},"type":{kind}{rest}}}'

    def doc(self, node: Named, /) -> str:
        return f',"doc":{quoted(node.doc)}' if node.doc is not None else ""

    def aliases(self, node: Named, /) -> str:
        return aliases([names.shortened(alias, node.namespace) for alias in node.aliases])

    def field_aliases(self, field: Field, /) -> str:
        return aliases(field.aliases)

    def default(self, field: Field) -> str:
        return dumps(field.default)

    def properties(self, of: Node | Field) -> str:
        return members(of.properties)


def aliases(written: Sequence[str]) -> str:
    return f',"aliases":[{",".join(map(quoted, written))}]' if written else ""


def members(properties: Mapping[str, Any]) -> str:
    return "".join(f",{quoted(name)}:{dumps(value)}" for name, value in properties.items()) if properties else ""


class Meaning(Text):
    """One definition, without what Java leaves out when it compares two of one name; the types in it are names."""

    alike = False

    def node(self, node: Node, namespace: str) -> Step[str]:
        return given(quoted(node.fullname)) if isinstance(node, Named) else super().node(node, namespace)

    def doc(self, _: Named, /) -> str:
        return ""

    def aliases(self, _: Named, /) -> str:
        return ""

    def field_aliases(self, _: Field, /) -> str:
        return ""


def same_definition(one: Named, other: Named) -> bool:
    """Whether two definitions of one name say the same, as far as they themselves go."""
    return run(Meaning().definition(one, "")) == run(Meaning().definition(other, ""))
