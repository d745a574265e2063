"""Types in words: for messages, and for the names of types that have none of their own."""

from __future__ import annotations

import re
import typing
from typing import Any, TypeVar, get_args, get_origin

__all__ = ["camel", "legal", "shown", "why_not"]


def shown(annotation: Any) -> str:
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    if isinstance(own := get_origin(annotation), type):
        return f"{own.__name__}[{', '.join(shown(part) for part in get_args(annotation))}]"
    return re.sub(r"(\w+\.)+(?=\w)", "", repr(annotation))


def legal(name: str) -> str:
    """`Page[Order]` as `Page_Order`."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") if "[" in name else name


def camel(record: str, field: str) -> str:
    """What a type without a name is called: `OrderStatus`, of Order's field status."""
    parts = [part[:1].upper() + part[1:] for part in field.split("_") if part]
    return record.rpartition(".")[2] + "".join(parts)


def why_not(annotation: Any) -> str:
    if annotation is Any or annotation is object:
        return f"{shown(annotation)} may be everything, and Avro wants to know: name the types, as in str | int | None"
    if isinstance(annotation, TypeVar):
        return f"{annotation} is not said: give the generic class its type, as in Page[Order]"
    if isinstance(annotation, str | typing.ForwardRef):
        return f"{annotation} cannot be found: define it at the top of a module, before it is used"
    return f"{shown(annotation)} has no counterpart in Avro: use a type that has, or a class with fields"
