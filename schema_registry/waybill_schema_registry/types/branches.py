"""Which branch of a union a value is of: of its own class first, then of a base, in the union's order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from waybill_schema_registry.types.checks import check_of
from waybill_schema_registry.types.shapes import Array, Enumeration, Map, Record, Scalar, Shape, Union

__all__ = ["branch_name", "branch_of", "classes_of"]

_ARRAYS = (list, tuple, set, frozenset)


def branch_name(shape: Shape) -> str:
    """What a branch is called in a union: no two may be called the same."""
    if isinstance(shape, Array):
        return "array"
    if isinstance(shape, Map):
        return "map"
    if isinstance(shape, Scalar):
        return shape.name or shape.avro
    return "union" if isinstance(shape, Union) else shape.name


def classes_of(shape: Shape) -> Sequence[type]:
    """The classes of the values that a branch is for."""
    if isinstance(shape, Array):
        return _ARRAYS
    if isinstance(shape, Map) or (isinstance(shape, Record) and shape.kind == "typed_dict"):
        return (dict,)
    return () if isinstance(shape, Union) else (shape.python,)


def branch_of(union: Union, value: Any) -> Shape | None:
    """The branch for a value; None if there is none."""
    return next((branch for fits in _ORDER for branch in union.branches if fits(branch, value)), None)


def _exactly(branch: Shape, value: Any) -> bool:
    if isinstance(branch, Enumeration) and branch.read is None:
        return type(value) is str and value in branch.write
    if isinstance(branch, Record) and branch.kind == "typed_dict":
        return _looks_like(branch, value, dict)
    return type(value) in classes_of(branch) and (not isinstance(branch, Scalar) or _passes(branch, value))


def _passes(branch: Scalar, value: Any) -> bool:
    """Whether it is kept as it is: of several integers, decimals, times or fixed, the first that loses nothing."""
    if branch.kind.endswith("-millis"):
        return bool(value.microsecond % 1000 == 0)
    try:
        return bool(check_of(branch)(value) == value) or branch.kind in ("timedelta", "text")
    except (TypeError, ValueError, OverflowError):
        return False


def _nearly(branch: Shape, value: Any) -> bool:
    if isinstance(branch, Record) and branch.kind == "typed_dict":
        return _looks_like(branch, value, Mapping)
    if isinstance(branch, Map):
        return isinstance(value, Mapping)
    if isinstance(value, bool):
        return False
    if isinstance(branch, Scalar) and branch.avro in ("float", "double"):
        return isinstance(value, int | float)
    if isinstance(branch, Enumeration):
        return value.__hash__ is not None and value in branch.write
    return isinstance(value, tuple(classes_of(branch)))


def _looks_like(branch: Record, value: Any, kind: Any) -> bool:
    """Whether a dict has the keys of a TypedDict, and the tags that its `Literal`s name."""
    if not isinstance(value, kind):
        return False
    keys = {field.attribute for field in branch.fields}
    needed = {field.attribute for field in branch.fields if not field.may_miss}
    given = set(value)
    return needed <= given <= keys and all(
        value[field.attribute] in field.shape.write
        for field in branch.fields
        if isinstance(field.shape, Enumeration) and field.attribute in given
    )


_ORDER: Sequence[Callable[[Shape, Any], bool]] = (_exactly, _nearly)
