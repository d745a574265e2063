"""A bar on a terminal; nothing in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

__all__ = ["bar"]


@contextmanager
def bar(total: float | None, text: str, *, hidden: bool = False) -> Generator[Callable[[float, str], None], None, None]:
    """Give the way to move it: how much of `total` is done, and what stands beside it. `None`: nobody knows the end."""
    shown = Progress(
        BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True, disable=hidden or not sys.stderr.isatty(),
    )  # fmt: skip
    with shown:
        task = shown.add_task(text, total=total)
        yield lambda done, beside: shown.update(task, completed=done, description=beside)
