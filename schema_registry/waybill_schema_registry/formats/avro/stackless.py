"""Recursion without the stack, so that no schema is too deep for it: a step yields the steps it needs and gets their results."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

__all__ = ["Step", "given", "run"]

T = TypeVar("T")
Step: TypeAlias = Generator["Step[Any]", Any, T]


def given(result: T) -> Step[T]:
    """A step that needs nothing."""
    yield from ()
    return result


def run(first: Step[T]) -> T:
    """What the step returns, once all that it asked for was done."""
    waiting: list[Step[Any]] = [first]
    result: Any = None
    while waiting:
        try:
            asked = waiting[-1].send(result)
        except StopIteration as done:
            waiting.pop()
            result = done.value
        else:
            waiting.append(asked)
            result = None
    return result  # type: ignore[no-any-return]  # the last result is the first step's
