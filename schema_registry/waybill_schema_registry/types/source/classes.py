"""Named types as classes: a record is a model, an enum a `StrEnum`, a fixed an alias of bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from waybill_schema_registry.formats.avro.schema import (
    ABSENT,
    Enum,
    Field,
    Named,
    Node,
    Primitive,
    Record,
    Union,
    named_types,
)
from waybill_schema_registry.types.source.annotations import annotation, fixed
from waybill_schema_registry.types.source.defaults import Defaults, Inexact, json_literal
from waybill_schema_registry.types.source.texts import call, docstring, is_docstring, literal

__all__ = ["Classes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """classes, members, fields: as of `Defaults`. there: the full names of what was written already."""

    classes: Mapping[str, str]
    members: Mapping[str, Mapping[str, str]]
    fields: Mapping[str, Mapping[str, str]]
    there: set[str] = field(default_factory=set[str])

    def source(self, node: Named) -> str:
        """The lines of a type. Those that its defaults need are to come first."""
        if isinstance(node, Record):
            lines = self._model(node)
        elif isinstance(node, Enum):
            lines = self._enum(node)
        else:
            named = self._named(node, always=True, doc=node.doc)
            lines = call(f"{self.classes[node.fullname]}: TypeAlias = Annotated", fixed(node, named), "[]")
        self.there.add(node.fullname)
        return lines

    def _model(self, node: Record) -> str:
        fields = [self._field(node, each) for each in node.fields]
        return self._class(node, "BaseModel", "".join(fields))

    def _enum(self, node: Enum) -> str:
        members = self.members[node.fullname]
        return self._class(
            node, "StrEnum", "".join(f"    {members[each]} = {literal(each)}\n" for each in node.symbols)
        )

    def _class(self, node: Record | Enum, base: str, body: str) -> str:
        doc = node.doc or ""
        shown = docstring(doc) if is_docstring(doc) else ""
        mark = self._named(node, doc=None if shown or not doc else doc)
        decorator = f"@{mark}\n" if mark else ""
        parts = "\n".join(part for part in (shown, body) if part) or "    pass\n"
        return f"{decorator}class {self.classes[node.fullname]}({base}):\n{parts}"

    def _named(self, node: Named, *, always: bool = False, doc: str | None = None) -> str:
        """The mark that says what the class itself does not; empty if there is nothing to say."""
        said: list[str] = []
        if always or self.classes[node.fullname] != node.name:
            said.append(literal(node.name))
        if node.namespace:
            said.append(f"namespace={literal(node.namespace)}")
        if node.aliases:
            said.append(f"aliases={json_literal([_relative(alias, node.namespace) for alias in node.aliases])}")
        if doc:
            said.append(f"doc={literal(doc)}")
        if isinstance(node, Enum) and node.default is not None:
            said.append(f"default_symbol={literal(node.default)}")
        return f"Named({', '.join(said)})" if said else ""

    def _field(self, record: Record, each: Field) -> str:
        attribute = self.fields[record.fullname][each.name]
        marks = [f"Aliases({', '.join(map(literal, each.aliases))})"] if each.aliases else []
        options: list[str] = []
        if each.default is not ABSENT:
            default, mark = self._default(each)
            options += [default] if default else []
            marks += [mark] if mark else []
        has_default = bool(options)
        if each.doc:
            options.append(f"description={literal(each.doc)}")
        if attribute != each.name:
            options.append(f"serialization_alias={literal(each.name)}")
            options.append(f"validation_alias=AliasChoices({literal(each.name)}, {literal(attribute)})")
        kind = annotation(_null_last(each.type) if has_default else each.type, self.classes)
        if marks:
            kind = f"Annotated[{kind}, {', '.join(marks)}]"
        if not options:
            return f"    {attribute}: {kind}\n"
        if has_default and len(options) == 1:
            return f"    {attribute}: {kind} = {options[0].removeprefix('default=')}\n"
        return call(f"    {attribute}: {kind} = Field", options)

    def _default(self, each: Field) -> tuple[str, str]:
        """How the model gets its default, and what to say to Avro where that would not say the same."""
        complete = {full for full, node in named_types(each.type).items() if named_types(node).keys() <= self.there}
        defaults = Defaults(classes=self.classes, members=self.members, fields=self.fields, there=complete)
        try:
            return f"default={defaults.expression(each.type, each.default)}", ""
        except Inexact:
            return "", f"Default({json_literal(each.default)})"


def _null_last(node: Node) -> Node:
    """`str | None = None` has null as its first branch, since that is its default."""
    if not isinstance(node, Union) or not isinstance(node.branches[0], Primitive) or node.branches[0].type != "null":
        return node
    return Union(branches=(*node.branches[1:], node.branches[0]))


def _relative(alias: str, namespace: str) -> str:
    space, _, short = alias.rpartition(".")
    return short if space == namespace else alias
