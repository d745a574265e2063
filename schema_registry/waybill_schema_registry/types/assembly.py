"""Functions put together from source: a record's conversion as one function that names its fields, not as a loop over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Any
from uuid import UUID

__all__ = ["Assembly"]


class Assembly:
    """One namespace for functions that call one another, also before they are defined."""

    def __init__(self) -> None:
        self._namespace: dict[str, Any] = {kind.__name__: kind for kind in (date, datetime, time, timedelta, UUID)}

    def constant(self, value: object) -> str:
        """A name for a value, to be used in source."""
        name = f"c{len(self._namespace)}"
        self._namespace[name] = value
        return name

    def reserve(self) -> str:
        """A name for a function that is defined later."""
        return self.constant(None)

    def define(self, name: str, lines: Sequence[str]) -> None:
        """`name` as a function of `v` with this body. The lines hold names of ours and `repr`s, nothing of anybody else's."""
        source = f"def {name}(v):\n" + "".join(f"    {line}\n" for line in lines)
        exec(source, self._namespace)  # noqa: S102 - as dataclasses does: attributes are identifiers, keys are reprs

    def function(self, name: str) -> Callable[[Any], Any]:
        """The function of a name; one that looks it up when it is called, where it is not defined yet."""
        found: Callable[[Any], Any] | None = self._namespace[name]
        return partial(self._call, name) if found is None else found

    def _call(self, name: str, value: Any) -> Any:
        return self._namespace[name](value)
