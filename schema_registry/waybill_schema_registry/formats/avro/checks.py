"""What no schema may be, whoever wrote it."""

from __future__ import annotations

from collections.abc import Sequence

from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro.members import twice
from waybill_schema_registry.formats.avro.schema import Field, Named, Node, Record, Typed, Union
from waybill_schema_registry.formats.avro.text import same_definition

__all__ = ["check_same", "check_union", "checked_union", "complete"]


def checked_union(branches: Sequence[Node]) -> Union:
    union = Union(branches=tuple(branches))
    check_union(union)
    return union


def check_union(union: Union) -> None:
    """No union in a union, and no two branches that a datum could not be told apart by (§Unions)."""
    seen: set[str] = set()
    for branch in union.branches:
        name = getattr(branch, "fullname", "") or getattr(branch, "type", "")
        if isinstance(branch, Union):
            raise InvalidSchema("A union stands in a union: make one of both")
        if name in seen and isinstance(branch, Typed):
            raise InvalidSchema(f"A union has {name!r:.200} twice, and a value could not say which of both it is")
        seen.add(name)


def complete(record: Record, fields: Sequence[Field]) -> Record:
    """The record with its fields, of which no two have one name."""
    record.complete(tuple(fields))
    if len(record.by_name) < len(record.fields):
        again = twice([field.name for field in fields])
        raise InvalidSchema(f"The record {record.fullname!r:.200} has the field {again!r:.200} twice")
    return record


def check_same(named: Named, first: Named) -> None:
    """One name, one type. To say the same twice is allowed, since Java's 1.12 does."""
    if named is not first and not same_definition(named, first):
        raise InvalidSchema(f"{named.fullname!r:.200} is defined twice, and differently: give one of them another name")
