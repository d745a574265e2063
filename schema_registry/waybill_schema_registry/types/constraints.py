"""What stands beside a type: marks of ours, which the schema says, and constraints, which only a validator knows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, get_args, get_origin

from waybill_schema_registry.types.marks import Mark
from waybill_schema_registry.types.members import Member
from waybill_schema_registry.types.shapes import Scalar, Shape

__all__ = ["doc_of", "is_known", "marks_of"]


def is_known(mark: object, shape: Shape) -> bool:
    """Whether a mark says nothing that would have to be checked after reading."""
    if isinstance(mark, Mark | str):
        return True
    said = _said(mark)
    if isinstance(shape, Scalar) and shape.kind == "decimal":
        said -= {"max_digits", "decimal_places"}
    return said <= {"title", "description", "examples", "extra_json_schema", "extra"}


def _said(mark: object) -> set[str]:
    """What a mark of pydantic, msgspec or annotated_types says."""
    names: Iterable[str] = getattr(mark, "__match_args__", ()) or getattr(mark, "__slots__", ())
    names = names or getattr(mark, "__dict__", ["?"])
    return set() if mark is None else {name for name in names if getattr(mark, name, "?") is not None}


def marks_of(member: Member) -> Iterable[object]:
    yield from member.marks
    if get_origin(member.annotation) is Annotated:
        yield from get_args(member.annotation)[1:]


def doc_of(member: Member) -> str:
    return next((text for mark in marks_of(member) if (text := getattr(mark, "description", None))), "")
