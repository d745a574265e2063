"""What a Python type is in Avro: the one form between types, schemas and the ways between values.

Shapes of named types stand once and are referred to by identity; a record's fields are filled in after it is made, so that it
can contain itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

__all__ = ["ABSENT", "Array", "Enumeration", "Field", "Map", "Record", "Scalar", "Shape", "Union"]

ABSENT: Final = object()
"""In place of a default: there is none."""


@dataclass(eq=False, slots=True, kw_only=True)
class Scalar:
    """One of the types that contain no other. kind: see `scalars`. sure: what Avro reads needs no further check."""

    kind: str
    avro: str
    python: type
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    name: str | None = None
    aliases: Sequence[str] = ()
    doc: str = ""
    sure: bool = True


@dataclass(eq=False, slots=True, kw_only=True)
class Enumeration:
    """write: from a value to its symbol; read: back; None where the symbols are the values."""

    name: str
    symbols: Sequence[str]
    write: Mapping[Any, str]
    read: Mapping[str, Any] | None
    python: type
    aliases: Sequence[str] = ()
    doc: str = ""
    default: str | None = None
    sure: bool = True


@dataclass(eq=False, slots=True, kw_only=True)
class Array:
    """python: list, set, frozenset or tuple."""

    items: Shape
    python: type
    sure: bool = True


@dataclass(eq=False, slots=True, kw_only=True)
class Map:
    values: Shape
    python: type = dict
    sure: bool = True


@dataclass(eq=False, slots=True, kw_only=True)
class Union:
    """branches: none of them a union; at least two."""

    branches: Sequence[Shape]
    sure: bool = True


@dataclass(eq=False, slots=True, kw_only=True)
class Field:
    """attribute: its name in Python. name: in Avro. key: what the class's own validator calls it. default: a Python value, or
    ABSENT. json: the default in the schema where it is not that value. may_miss: a key that need not be there, which Avro has as null."""

    attribute: str
    name: str
    key: str
    shape: Shape
    default: Any = ABSENT
    json: Any = ABSENT
    doc: str = ""
    aliases: Sequence[str] = ()
    may_miss: bool = False


@dataclass(eq=False, slots=True, kw_only=True)
class Record:
    """kind: how values are taken apart and made. sure: the class makes no check of its own beyond its fields' types."""

    name: str
    python: Any
    kind: Literal["model", "dataclass", "typed_dict", "struct", "named_tuple"]
    fields: list[Field] = field(default_factory=list[Field])
    aliases: Sequence[str] = ()
    doc: str = ""
    keyword_only: bool = False
    sure: bool = True


Shape: TypeAlias = Scalar | Enumeration | Array | Map | Union | Record
