"""Fields that were read before, by their texts. A field that depends on nothing around it is read once for all the schemas
it stands in, which makes reading a version cheap, and comparing it with the others: most fields are the same object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from waybill_schema_registry.formats.avro.schema import Field, Named, Node, Record, Union, nodes

__all__ = ["STOCK", "Shelf", "Stocked"]


@dataclass(frozen=True, slots=True)
class Stocked:
    """defines: the types that the field defines, by full name, in the order of the text."""

    field: Field
    defines: tuple[tuple[str, Named], ...]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The fields of one kind of place, since the same text could mean something else in another. strict: whether they were
    read strictly."""

    strict: bool
    namespace: str
    fields: dict[bytes, Stocked]


class Stock:
    """room: how many characters all texts may have together; when it is used up, all are given up."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.left = room
        self.shelves: dict[tuple[bool, str], Shelf] = {}

    def shelf(self, *, strict: bool, namespace: str) -> Shelf:
        found = self.shelves.get((strict, namespace))
        if found is None:
            self.take(1_000 + len(namespace))
            found = self.shelves[strict, namespace] = Shelf(strict, namespace, {})
        return found

    def put(self, shelf: Shelf, text: bytes, field: Field, defines: Sequence[Named]) -> Field:
        """The field, from now on the one for this text on this shelf."""
        if not field.aliases and (not defines or is_settled(field.type)):
            object.__setattr__(field, "settled", text)
            object.__setattr__(field, "written", None if defines else "")
        self.take(len(text) + 100)
        shelf.fields[text] = Stocked(field, tuple((named.fullname, named) for named in defines))
        return field

    def take(self, room: int) -> None:
        self.left -= room
        if self.left < 0:
            self.clear()

    def clear(self) -> None:
        for shelf in self.shelves.values():
            shelf.fields.clear()
        self.shelves.clear()
        self.left = self.room


def is_settled(kind: Node) -> bool:
    """Whether a type surely reads what it writes itself. Aliases can make a record ambiguous, and with several named branches
    of a union Avro Java's report depends on what was compared before."""
    return not any(
        (isinstance(node, Union) and sum(isinstance(branch, Named) for branch in node.branches) > 1)
        or (isinstance(node, Record) and any(each.aliases for each in node.fields))
        for node in nodes(kind)
    )


STOCK: Final = Stock(8 << 20)
