"""From what fastavro's reader gives to values.

Where Avro has checked all that a type says, values are made of it at once. Else it is brought into the form that the type's
own validator takes, pydantic's or msgspec's, and checked by that; what is in a union of records is then an instance already,
so that the branch that was written is the one that is read.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import msgspec
from pydantic import TypeAdapter

from waybill_schema_registry.types.assembly import Assembly
from waybill_schema_registry.types.branches import branch_name
from waybill_schema_registry.types.checks import MICROSECOND
from waybill_schema_registry.types.members import kind_of
from waybill_schema_registry.types.shapes import Array, Enumeration, Field, Map, Record, Scalar, Shape, Union

__all__ = ["reader"]

_BUILTIN: Final = (bytes, bytearray, datetime, date, time, timedelta, Decimal, UUID)


def reader(shape: Shape, payload: Any) -> Callable[[Any], Any]:
    """What turns fastavro's data into values of a payload. It raises whatever the payload's validators raise, and `KeyError`,
    `TypeError` and the like for data of another schema."""
    reading = _Reading()
    read = reading.function(shape)
    if reading.is_sure(shape):
        return read
    validate = validator(payload)
    return lambda datum: validate(read(datum))


def validator(payload: Any) -> Callable[[Any], Any]:
    """What checks prepared data. Raises pydantic's own errors for what it cannot validate."""
    if kind_of(payload) == "struct":
        return lambda prepared: msgspec.convert(prepared, payload, builtin_types=_BUILTIN)
    adapter: TypeAdapter[Any] = TypeAdapter(payload)
    if not adapter.pydantic_complete:
        adapter.rebuild(raise_errors=True)
    return adapter.validator.validate_python


class _Reading:
    """The functions of one type. Made once a shape, so that one may call itself."""

    def __init__(self) -> None:
        self._assembly = Assembly()
        self._names: dict[int, str] = {}
        self._same: dict[int, bool] = {}
        self._sure: dict[int, bool] = {}
        self._kept: list[Shape] = []

    def function(self, shape: Shape) -> Callable[[Any], Any]:
        name = self._name(shape)
        return (lambda datum: datum) if name is None else self._assembly.function(name)

    def is_sure(self, shape: Shape) -> bool:
        """Whether nothing in it needs a check of its own."""
        if id(shape) not in self._sure:
            self._sure[id(shape)] = all(part.sure for part in _reachable(shape))
        return self._sure[id(shape)]

    def _name(self, shape: Shape) -> str | None:
        """The name of a shape's function; None where data are values already."""
        known = self._names.get(id(shape))
        if known is not None:
            return known
        if self._is_same(shape):
            return None
        self._kept.append(shape)
        name = self._names[id(shape)] = self._assembly.reserve()
        self._assembly.define(name, self._body(shape))
        return name

    def _is_same(self, shape: Shape) -> bool:
        """Whether data are values already. What contains itself counts as not: it is looked at piece by piece."""
        if id(shape) not in self._same:
            self._same[id(shape)] = False
            self._same[id(shape)] = self._looks_same(shape)
        return self._same[id(shape)]

    def _looks_same(self, shape: Shape) -> bool:
        if isinstance(shape, Scalar):
            return shape.kind != "timedelta"
        if isinstance(shape, Enumeration):
            return shape.read is None
        if isinstance(shape, Array):
            return shape.python is list and self._is_same(shape.items)
        if isinstance(shape, Map):
            return self._is_same(shape.values)
        if isinstance(shape, Union):
            return all(_is_nameless(part) and self._is_same(part) for part in shape.branches)
        keeps = shape.kind == "typed_dict" or not self.is_sure(shape)
        return keeps and all(
            self._key(shape, field) == field.name and not field.may_miss and self._is_same(field.shape)
            for field in shape.fields
        )

    def _expression(self, shape: Shape, of: str) -> str:
        if isinstance(shape, Scalar) and shape.kind == "timedelta":
            return f"{of} * {self._assembly.constant(MICROSECOND)}"
        name = self._name(shape)
        return of if name is None else f"{name}({of})"

    def _body(self, shape: Shape) -> list[str]:
        if isinstance(shape, Scalar):
            return [f"return {self._expression(shape, 'v')}"]
        if isinstance(shape, Enumeration):
            return [f"return {self._assembly.constant(dict(shape.read or {}))}[v]"]
        if isinstance(shape, Array):
            return self._array(shape)
        if isinstance(shape, Map):
            return [f"return {{k: {self._expression(shape.values, 'v')} for k, v in v.items()}}"]
        if isinstance(shape, Union):
            return self._union(shape)
        if shape.kind == "typed_dict" or not self.is_sure(shape):
            return self._dictionary(shape)
        return self._instance(shape)

    def _array(self, shape: Array) -> list[str]:
        items = self._expression(shape.items, "v")
        listed = "v" if items == "v" else f"[{items} for v in v]"
        hashable = shape.python in (list, tuple) or self.is_sure(shape.items) or isinstance(shape.items, Scalar)
        return [
            f"return {shape.python.__name__}({listed})" if shape.python is not list and hashable else f"return {listed}"
        ]

    def _dictionary(self, shape: Record) -> list[str]:
        there = [field for field in shape.fields if not field.may_miss]
        pairs = ", ".join(f"{self._key(shape, field)!r}: {self._of(field)}" for field in there)
        maybe = [
            f"if v[{field.name!r}] is not None: d[{self._key(shape, field)!r}] = {self._of(field)}"
            for field in shape.fields
            if field.may_miss
        ]
        return [f"d = {{{pairs}}}", *maybe, "return d"]

    def _key(self, shape: Record, field: Field) -> str:
        """What is to stand in a dict: for a validator its own name of the field."""
        return field.attribute if self.is_sure(shape) else field.key

    def _instance(self, shape: Record) -> list[str]:
        arguments = ", ".join(
            f"{field.attribute}={self._of(field)}" if shape.keyword_only else self._of(field) for field in shape.fields
        )
        return [f"return {self._assembly.constant(shape.python)}({arguments})"]

    def _of(self, field: Field) -> str:
        return self._expression(field.shape, f"v[{field.name!r}]")

    def _union(self, shape: Union) -> list[str]:
        functions = {branch_name(branch): self._branch(branch) for branch in shape.branches}
        if "map" in functions and not self.is_sure(shape):
            functions["map"] = _never_a_model(functions["map"])
        named, plain = self._assembly.constant(functions), self._assembly.constant(_plain(shape, functions))
        return [
            "if v is None: return None",
            f"if type(v) is tuple: return {named}[v[0]](v[1])",
            f"return {plain}(v)",
        ]

    def _branch(self, shape: Shape) -> Callable[[Any], Any]:
        name = self._name(shape)
        convert: Callable[[Any], Any] = (lambda datum: datum) if name is None else self._assembly.function(name)
        if not isinstance(shape, Record) or shape.kind == "typed_dict" or self.is_sure(shape):
            return convert
        validate = validator(shape.python)
        return lambda datum: validate(convert(datum))


def _plain(shape: Union, functions: dict[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """For a datum that does not say its branch: of a type without a name, or written when this was no union yet."""
    records = {
        frozenset(field.name for field in part.fields): functions[part.name]
        for part in reversed(shape.branches)
        if isinstance(part, Record)
    }
    others: dict[type, list[Callable[[Any], Any]]] = {}
    for part in sorted(shape.branches, key=_is_nameless, reverse=True):
        if not isinstance(part, Record):
            others.setdefault(_class_read(part), []).append(functions[branch_name(part)])

    def read(datum: Any) -> Any:
        kind = datum.__class__
        for convert in others.get(kind, ()):
            try:
                return convert(datum)
            except KeyError:  # no symbol of this enum
                continue
        if kind is dict and (record := records.get(frozenset(datum))) is not None:
            return record(datum)
        raise TypeError(f"{kind.__name__} is none of {', '.join(functions)}")

    return read


def _never_a_model(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """pydantic would make a model of a dict where the union has one that fits, but never of another mapping."""
    return lambda datum: MappingProxyType(convert(datum))


def _is_nameless(branch: Shape) -> bool:
    """Whether fastavro gives its data bare; those of a named type come with the name."""
    return isinstance(branch, Array | Map) or (isinstance(branch, Scalar) and branch.name is None)


def _class_read(shape: Shape) -> type:
    """Of what fastavro gives for a branch."""
    if isinstance(shape, Array):
        return list
    if isinstance(shape, Map):
        return dict
    if isinstance(shape, Enumeration):
        return str
    assert isinstance(shape, Scalar)  # noqa: S101 - there is no union in a union, and records are asked before
    return {"timedelta": int, "text": str, "bytearray": bytes}.get(shape.kind, shape.python)


def _reachable(shape: Shape) -> list[Shape]:
    found: dict[int, Shape] = {}
    todo = [shape]
    while todo:
        part = todo.pop()
        if id(part) in found:
            continue
        found[id(part)] = part
        if isinstance(part, Array):
            todo.append(part.items)
        elif isinstance(part, Map):
            todo.append(part.values)
        elif isinstance(part, Union):
            todo.extend(part.branches)
        elif isinstance(part, Record):
            todo.extend(field.shape for field in part.fields)
    return list(found.values())
