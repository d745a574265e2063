"""Options that several verbs share, as one value: the verb takes the value, and typer sees its fields."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from inspect import Parameter
from typing import Any, get_type_hints

__all__ = ["spread"]


def spread(verb: Callable[..., None]) -> Callable[..., None]:
    """In place of each parameter of `verb` whose type is a dataclass, the fields of that one."""
    values: dict[str, tuple[Callable[..., Any], list[str]]] = {}
    shown: list[Parameter] = []
    for parameter in inspect.signature(verb, eval_str=True).parameters.values():
        kind = parameter.annotation
        if is_dataclass(kind):
            within = _fields(kind)
            values[parameter.name] = kind, [field.name for field in within]  # type: ignore[assignment]
            shown += within
        else:
            shown.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))

    @functools.wraps(verb)
    def called(**given: Any) -> None:
        made = {name: kind(**{field: given.pop(field) for field in within}) for name, (kind, within) in values.items()}
        verb(**given, **made)

    called.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    return called


def _fields(kind: Any) -> list[Parameter]:
    types = get_type_hints(kind, include_extras=True)
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            annotation=types[field.name],
            default=Parameter.empty if field.default is MISSING else field.default,
        )
        for field in fields(kind)
    ]
