"""Nodes from JSON values: what a schema may say, and what its names stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain, islice
from operator import attrgetter
from typing import Any

from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro import names, reading
from waybill_schema_registry.formats.avro.checks import check_same, checked_union, complete
from waybill_schema_registry.formats.avro.defaults import Fitting, check_default, number_of
from waybill_schema_registry.formats.avro.forward import Unknown, resolve
from waybill_schema_registry.formats.avro.members import (
    distinct,
    needed,
    order,
    properties,
    shown,
    strings,
    text,
    twice,
)
from waybill_schema_registry.formats.avro.schema import (
    ABSENT,
    PRIMITIVES,
    Array,
    Enum,
    Field,
    Fixed,
    Map,
    Named,
    Node,
    Primitive,
    Record,
)
from waybill_schema_registry.formats.avro.stackless import Step, run
from waybill_schema_registry.formats.avro.stock import STOCK, Shelf, Stocked

__all__ = ["Builder"]

RESERVED = frozenset(("type", "name", "namespace", "doc", "aliases", "fields", "symbols", "size", "items", "values"))
OF_ENUMS = RESERVED | {"default"}
DEFINES: Callable[[Stocked], tuple[tuple[str, Named], ...]] = attrgetter("defines")
FIELD: Callable[[Stocked], Field] = attrgetter("field")
OF_FIELDS = frozenset(("name", "type", "doc", "default", "order", "aliases"))


class Builder:
    """Builds the nodes of one schema and of those that it refers to: they share their names.

    strict: names are checked, and defaults must fit. named: what was defined until now. open: the records whose fields are
    being read, which Java 1.12 knows by their full names alone. again: what was defined once more. used: the names that
    were met, and whether they were found in the namespace they stand in. defaults: fields whose defaults are still to be
    checked, which needs whole types.
    """

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.named: dict[str, Named] = {}
        self.open: set[str] = set()
        self.again: list[Named] = []
        self.used: list[tuple[str, bool]] = []
        self.unknown = False
        self.defaults: list[Field] = []
        self.fitting = Fitting()

    def node(self, value: Any, namespace: str) -> Step[Node]:
        """Any schema, as it stands in a namespace."""
        plain = self.plain(value, namespace)
        if plain is not None:
            return plain
        if reading.is_list(value):
            union: Node = yield self.union(value, namespace)
            return union
        if not reading.is_object(value):
            raise InvalidSchema(f"{shown(value)} is no schema: a name, an object or a list of schemas is")
        kind = value.get("type")
        if not isinstance(kind, str):
            raise InvalidSchema(f'A schema needs a "type" that is a name; here it is {shown(kind)} in {shown(value)}')
        if kind in PRIMITIVES:
            return Primitive(type=kind, properties=properties(value, RESERVED))
        if kind in WITH_PARTS:
            whole: Node = yield WITH_PARTS[kind](self, value, namespace)
            return whole
        return WITHOUT_PARTS.get(kind, Builder.by_type)(self, value, namespace)

    def plain(self, value: Any, namespace: str) -> Node | None:
        """What needs no look at its parts, which is nearly everything."""
        if isinstance(value, str):
            return self.reference(value, namespace)
        if reading.is_list(value) and all(isinstance(branch, str) for branch in value):
            return checked_union([self.reference(branch, namespace) for branch in value])
        return None

    def by_type(self, value: dict[str, Any], namespace: str) -> Node:
        return self.reference(value["type"], namespace)

    def reference(self, name: str, namespace: str) -> Node:
        if name in PRIMITIVES:
            return Primitive(type=name)
        fullname = names.full(*names.split(name, namespace))
        found, known = self.named.get(fullname), fullname not in self.open
        self.used.append((fullname, found is not None and (known or name == fullname)))
        if (found is None or not known) and name not in self.open:
            found = self.named.get(name) or found
        if found is None:
            self.unknown = True
            return Unknown(fullname)  # type: ignore[return-value]  # `finish` leaves none
        return found

    def array(self, value: dict[str, Any], namespace: str) -> Step[Node]:
        items = yield self.node(needed(value, "items"), namespace)
        return Array(items=items, properties=properties(value, RESERVED))

    def map(self, value: dict[str, Any], namespace: str) -> Step[Node]:
        values = yield self.node(needed(value, "values"), namespace)
        return Map(values=values, properties=properties(value, RESERVED))

    def union(self, value: list[Any], namespace: str) -> Step[Node]:
        branches: list[Node] = []
        for branch in value:
            plain = self.plain(branch, namespace)
            branches.append(plain or (yield self.node(branch, namespace)))
        return checked_union(branches)

    def fixed(self, value: dict[str, Any], namespace: str) -> Node:
        title = self.title(value, namespace)
        size = needed(value, "size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**31 - 8:
            raise InvalidSchema(
                f'"size" is the number of bytes of a fixed; for {shown(title["name"])} it is {shown(size)}'
            )
        return self.define(Fixed(**title, size=size, properties=properties(value, RESERVED)))

    def enum(self, value: dict[str, Any], namespace: str) -> Node:
        title = self.title(value, namespace)
        symbols = strings(needed(value, "symbols"), "symbols")
        default = text(value.get("default"))
        if len(set(symbols)) < len(symbols):
            raise InvalidSchema(f"The enum {shown(title['name'])} has the symbol {shown(twice(symbols))} twice")
        if default is not None and default not in symbols:
            raise InvalidSchema(
                f"The default of the enum {shown(title['name'])}, {shown(default)}, is none of its symbols"
            )
        if self.strict:
            for symbol in symbols:
                names.check_name(symbol, "The symbol")
        return self.define(Enum(**title, symbols=symbols, default=default, properties=properties(value, OF_ENUMS)))

    def record(self, value: dict[str, Any], namespace: str) -> Step[Node]:
        record = self.announce(value, namespace)
        items = needed(value, "fields")
        if not reading.is_list(items):
            raise InvalidSchema(f'"fields" is a list of fields; for {shown(record.name)} it is {shown(items)}')
        fields: list[Field] = []
        for item in items:
            fields += ((yield self.field(item, record.namespace)),)
        return self.complete(record, fields)

    def whole_record(self, value: dict[str, Any], texts: list[bytes]) -> Record:
        """A record whose fields are texts yet: those that were read before are not read again."""
        record = self.announce(value, "")
        shelf = STOCK.shelf(strict=self.strict, namespace=record.namespace)
        known = list(map(shelf.fields.get, texts))
        fields: list[Field] = []
        done = 0
        for new in [place for place, each in enumerate(known) if each is None]:
            fields += self.taken(known[done:new])
            fields.append(self.new(shelf, texts[new]))
            done = new + 1
        fields += self.taken(known[done:])
        return self.complete(record, fields)

    def taken(self, known: list[Stocked | None]) -> list[Field]:
        """Fields from stock, with the types that they define."""
        stocked = [each for each in known if each is not None]
        for name, named in chain.from_iterable(map(DEFINES, stocked)):
            if self.named.setdefault(name, named) is not named:
                self.again.append(named)
        return list(map(FIELD, stocked))

    def announce(self, value: dict[str, Any], namespace: str) -> Record:
        """A record by its name, before its fields, which may refer to it."""
        title = self.title(value, namespace)
        record = Record(**title, error=value["type"] == "error", properties=properties(value, RESERVED))
        self.define(record)
        self.open.add(record.fullname)
        return record

    def complete(self, record: Record, fields: list[Field]) -> Record:
        self.open.discard(record.fullname)
        return complete(record, fields)

    def new(self, shelf: Shelf, raw: bytes) -> Field:
        """A field by its text, put into stock unless its meaning depends on what is outside of it."""
        named, again, used, defaults = len(self.named), len(self.again), len(self.used), len(self.defaults)
        value = self.checked_field(reading.read(raw))
        kind = self.plain(value["type"], shelf.namespace) or run(self.node(value["type"], shelf.namespace))
        field = self.field_of(kind, value)
        defines = list(islice(reversed(self.named.values()), len(self.named) - named))[::-1]
        inside = {each.fullname for each in defines}
        if len(self.again) > again or not all(found and name in inside for name, found in self.used[used:]):
            return field
        for each in self.defaults[defaults:]:
            check_default(each, self.fitting)
        return STOCK.put(shelf, raw, field, defines)

    def field(self, value: Any, namespace: str) -> Step[Field]:
        given = self.checked_field(value)
        kind: Node = self.plain(given["type"], namespace) or (yield self.node(given["type"], namespace))
        return self.field_of(kind, given)

    def checked_field(self, value: Any) -> dict[str, Any]:
        """The members of a field that has what every field needs."""
        if not reading.is_object(value):
            raise InvalidSchema(f"{shown(value)} is no field: an object with a name and a type is")
        name = value.get("name")
        if not isinstance(name, str):
            raise InvalidSchema(f'A field needs a "name"; this one has none: {shown(value)}')
        if self.strict:
            names.check_name(name, "The field")
        if "type" not in value:
            raise InvalidSchema(f'The field {shown(name)} needs a "type"')
        return value

    def field_of(self, kind: Node, value: dict[str, Any]) -> Field:
        field = Field(
            name=value["name"],
            type=kind,
            doc=text(value.get("doc")),
            default=number_of(kind, value.get("default", ABSENT)),
            order=order(value),
            aliases=distinct(strings(value["aliases"], "aliases")) if "aliases" in value else (),
            properties=properties(value, OF_FIELDS),
        )
        if self.strict and field.has_default:
            self.defaults.append(field)
        return field

    def title(self, value: dict[str, Any], namespace: str) -> dict[str, Any]:
        """What named types have in common."""
        name = value.get("name")
        if not isinstance(name, str) or not name:
            raise InvalidSchema(f'Every {value["type"]} needs a "name"; this one has none: {shown(value)}')
        own = text(value.get("namespace"))
        space, simple = names.split(name, namespace if own is None else own)
        if self.strict:
            names.check_fullname(names.full(space, simple), "The name")
        if not space and simple in PRIMITIVES:
            raise InvalidSchema(f"{simple} is a type of Avro: another type of this name needs a namespace")
        aliases = strings(value["aliases"], "aliases") if "aliases" in value else ()
        if self.strict:
            for alias in aliases:
                names.check_name(alias.rpartition(".")[2], "The alias")
        return {
            "name": simple,
            "namespace": space,
            "doc": text(value.get("doc")),
            "aliases": distinct(names.full(*names.split(alias, space)) for alias in aliases),
        }

    def define(self, named: Named) -> Named:
        if self.named.setdefault(named.fullname, named) is not named:
            self.again.append(named)
        return named

    def finish(self, root: Node) -> Node:
        """After the last part: names that were used before they were defined, definitions that stand twice, defaults."""
        if self.unknown:
            root = resolve(root, self.named)
        for named in self.again:
            check_same(named, self.named[named.fullname])
        for field in self.defaults:
            check_default(field, self.fitting)
        self.unknown = False
        self.again.clear()
        self.defaults.clear()
        return root


WITH_PARTS: Mapping[str, Callable[[Builder, dict[str, Any], str], Step[Node]]] = {
    "array": Builder.array,
    "map": Builder.map,
    "record": Builder.record,
    "error": Builder.record,
}
WITHOUT_PARTS: Mapping[str, Callable[[Builder, dict[str, Any], str], Node]] = {
    "fixed": Builder.fixed,
    "enum": Builder.enum,
}
