"""A schema as fastavro takes it: full names, each type where it is met first, and nothing that it does not need.

Its defaults are values, not JSON: fastavro puts them into a record as they stand, where `bytes` would be a text and a
timestamp a number (Avro 1.12, §Complex Types, Records).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from sys import intern
from typing import Any, cast

from waybill.errors import ConfigurationError, describe
from waybill_schema_registry.codec.library import LOGICAL_READERS, parse_schema
from waybill_schema_registry.formats.avro.schema import (
    Array,
    Enum,
    Field,
    Fixed,
    Map,
    Named,
    Node,
    Primitive,
    Record,
    Union,
    children,
    named_types,
)

__all__ = ["Defaults", "Form", "form_of", "plain_form"]

LOGICAL = ("logicalType", "precision", "scale")
MOST = 100_000
"""Values in all defaults of a schema together."""


class Form:
    """schema: for fastavro. bare: without defaults and aliases; what two schemas have alike needs no resolution."""

    __slots__ = ("bare", "schema")

    def __init__(self, bare: Any, schema: Any) -> None:
        self.bare = bare
        self.schema = schema


def form_of(root: Node, *, named: bool = False, defaults: bool = True) -> Form:
    """named: in defaults, what is of a named type in a union is (its full name, value), as `READING` has it. defaults: whether
    they are wanted; those of a schema that only says how something was written are not.

    Raises `ConfigurationError` where fastavro would not take the schema, or would take it for another one.
    """
    _check_names(root)
    named_schemas: dict[str, Any] = {}  # each record once, by full name
    parsed = _parsed(_write(root, {}, aliases=True), named_schemas)
    values = Defaults(named=named)
    for name, record in _records(root, {}).items():
        for field, description in zip(record.fields, named_schemas[name]["fields"], strict=True):
            if defaults and field.has_default:
                description["default"] = values.value(field.type, field.default)
    return Form(_write(root, {}, aliases=False), parsed)


def plain_form(root: Node) -> Any:
    """The schema for fastavro without logical types, which are left to who resolves what it reads."""
    return _parsed(_write(root, {}, aliases=False, logical=False), {})


def _parsed(written: Any, named_schemas: dict[str, Any]) -> Any:
    try:
        return parse_schema(written, named_schemas)
    except Exception as error:  # of its own kinds, and of Python's
        raise ConfigurationError(f"fastavro does not take the schema: {describe(error)[:300]}") from error


def _check_names(root: Node) -> None:
    """A name without a namespace cannot be written inside of one: fastavro would take it for a name of that namespace, which
    may be a type that contains itself, and take the process down."""
    for node in named_types(root).values():
        below = [each for child in children(node) for each in _branches(child)] if node.namespace else []
        for each in below:
            if isinstance(each, Named) and not each.namespace:
                raise ConfigurationError(
                    f"{each.name} has no namespace and is used in {node.fullname}, which has one: give {each.name} one too"
                )


def _branches(node: Node) -> Iterator[Node]:
    """What is inside of a type up to the next named one, which has a namespace of its own."""
    yield node
    if isinstance(node, Union | Array | Map):
        for child in children(node):
            yield from _branches(child)


def _write(node: Node, known: dict[str, Named], *, aliases: bool, logical: bool = True) -> Any:
    more = {"aliases": aliases, "logical": logical}
    if isinstance(node, Union):
        return [_write(branch, known, **more) for branch in node.branches]
    description: dict[str, Any] = {"type": intern(node.type)}  # fastavro compares these words for each value
    if not isinstance(node, Primitive | Array | Map):
        if node.fullname in known:
            return node.fullname
        known[node.fullname] = node
        description["name"] = node.fullname
        if aliases and node.aliases:
            description["aliases"] = list(node.aliases)
    if logical and node.logical is not None:
        description |= {name: node.properties[name] for name in LOGICAL if name in node.properties}
    if isinstance(node, Record):
        description["type"] = "record"
        description["fields"] = [_field(field, known, **more) for field in node.fields]
    elif isinstance(node, Enum):
        description["symbols"] = [intern(symbol) for symbol in node.symbols]
        if aliases and node.default is not None:
            description["default"] = node.default
    elif isinstance(node, Fixed):
        description["size"] = node.size
    elif isinstance(node, Array):
        description["items"] = _write(node.items, known, **more)
    elif isinstance(node, Map):
        description["values"] = _write(node.values, known, **more)
    return description["type"] if len(description) == 1 else description


def _field(field: Field, known: dict[str, Named], *, aliases: bool, logical: bool) -> dict[str, Any]:
    kind = _write(field.type, known, aliases=aliases, logical=logical)
    description: dict[str, Any] = {"name": intern(field.name), "type": kind}
    if aliases and field.aliases:
        description["aliases"] = list(field.aliases)
    return description


def _records(node: Node, found: dict[str, Record]) -> dict[str, Record]:
    if isinstance(node, Record):
        if node.fullname not in found:
            found[node.fullname] = node
            for field in node.fields:
                _records(field.type, found)
    elif isinstance(node, Union):
        for branch in node.branches:
            _records(branch, found)
    elif isinstance(node, Array | Map):
        _records(node.items if isinstance(node, Array) else node.values, found)
    return found


class Defaults:
    """From defaults as they stand in a schema to the values that they mean."""

    def __init__(self, *, named: bool) -> None:
        self._named = named
        self._count = 0

    def value(self, node: Node, default: Any) -> Any:
        """Raises `ConfigurationError` where the default is none of its type."""
        self._count += 1
        if self._count > MOST:
            raise ConfigurationError(f"the defaults of a schema hold more than {MOST} values: nobody can want that")
        try:
            return self._value(node, default)
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
            raise ConfigurationError(f"a default does not fit its type {node!r}: {str(default)[:80]!r}") from error

    def _value(self, node: Node, default: Any) -> Any:
        if isinstance(node, Union):
            return self._of_union(node, default)
        if isinstance(node, Record):
            given = cast("Mapping[str, Any]", default)
            return {field.name: self.value(field.type, given.get(field.name, field.default)) for field in node.fields}
        if isinstance(node, Array):
            return [self.value(node.items, item) for item in default]
        if isinstance(node, Map):
            return {key: self.value(node.values, item) for key, item in default.items()}
        plain: Any = default
        if node.type in {"bytes", "fixed"}:
            plain = default.encode("latin-1")
        elif node.type in {"float", "double"}:
            plain = float(default)
        return self._logical(node, plain)

    def _of_union(self, union: Union, default: Any) -> Any:
        for branch in union.branches:
            if _fits(branch, default):
                value = self.value(branch, default)
                titled = self._named and isinstance(branch, Record | Enum | Fixed)
                return (cast("Named", branch).fullname, value) if titled else value
        raise ValueError("no branch fits")

    def _logical(self, node: Node, plain: Any) -> Any:
        reader = LOGICAL_READERS.get(f"{node.type}-{node.logical}")
        return plain if reader is None else reader(plain, dict(node.properties), None)


KINDS: dict[str, type | tuple[type, ...]] = {
    "null": type(None),
    "boolean": bool,
    "int": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "array": list,
    "map": dict,
    "record": dict,
}


def _fits(node: Node, default: Any) -> bool:
    """Whether a default may be one of this branch, by its kind."""
    if isinstance(default, bool) and node.type != "boolean":
        return False
    if isinstance(node, Enum):
        return default in node.symbols
    return isinstance(default, KINDS.get(node.type, str))
