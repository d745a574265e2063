"""Where in a value it was that something did not fit. Only asked when it did not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from waybill.errors import describe
from waybill_schema_registry.types.branches import branch_of
from waybill_schema_registry.types.shapes import Array, Map, Record, Shape, Union
from waybill_schema_registry.types.writing import checked, writer

__all__ = ["explain", "summary"]

_FAILURES = (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, RecursionError)
_LISTED, _LOOKED_AT = 5, 1000
_DEEPEST = 64


def explain(shape: Shape, value: Any, error: Exception) -> str:
    """The path to what does not fit, and why, without the values beside it."""
    path, cause = _inmost(shape, value, error)
    return f"{path.lstrip('.') or 'it'}: {_reason(cause)}"


def summary(error: Exception) -> str:
    """An error of pydantic's, msgspec's or a validator's, in one line, without the values: those may be secrets."""
    errors: Callable[..., Any] | None = getattr(error, "errors", None)
    if not callable(errors):
        return f"{type(error).__name__}: {' '.join(describe(error).split())}"
    count: Callable[[], int] = getattr(error, "error_count", lambda: 0)
    if count() > _LOOKED_AT:
        return f"{count()} errors"  # a body can hold very many, and a list of them takes gigabytes
    found: list[Any] = errors(include_input=False, include_url=False, include_context=False)
    lines = [f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in found[:_LISTED]]
    more = len(found) - _LISTED
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")


def _inmost(shape: Shape, value: Any, error: Exception) -> tuple[str, Exception]:
    writers: dict[int, Callable[[Any], Any]] = {}
    path = ""
    for _ in range(_DEEPEST):
        step = _misfit(shape, value, writers)
        if step is None:
            break
        part, shape, value, error = step
        path += part
    return path, error


def _misfit(
    shape: Shape, value: Any, writers: dict[int, Callable[[Any], Any]]
) -> tuple[str, Shape, Any, Exception] | None:
    """The first part of a value that does not fit; None where it is the value itself that does not."""
    try:
        for part, inner, item in _parts(shape, value):
            if isinstance(item, Exception):
                return part, inner, None, item
            write = writers.get(id(inner)) or writers.setdefault(id(inner), writer(inner))
            try:
                write(item)
            except _FAILURES as found:
                return part, inner, item, found
    except _FAILURES:
        return None
    return None


def _parts(shape: Shape, value: Any) -> Iterable[tuple[str, Shape, Any]]:
    if isinstance(shape, Record):
        if shape.kind != "typed_dict" and not isinstance(value, shape.python):
            return
        for field in shape.fields:
            yield f".{field.attribute}", field.shape, _item(shape, value, field.attribute, may_miss=field.may_miss)
    elif isinstance(shape, Array):
        for index, item in enumerate(checked(shape, value)):
            yield f"[{index}]", shape.items, item
    elif isinstance(shape, Map):
        for key, item in checked(shape, value).items():
            yield f"[{str(key)[:80]!r}]", shape.values, item
    elif isinstance(shape, Union) and (branch := branch_of(shape, value)) is not None:
        yield "", branch, value


def _item(shape: Record, value: Any, attribute: str, *, may_miss: bool) -> Any:
    try:
        if shape.kind != "typed_dict":
            return getattr(value, attribute)
        return value.get(attribute) if may_miss else value[attribute]
    except (KeyError, AttributeError):
        return KeyError("missing")


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return (
            "it is missing" if error.args == ("missing",) else f"{str(error.args[0])[:80]!r} is no symbol of its enum"
        )
    return " ".join(describe(error).split())
