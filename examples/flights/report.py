"""What the demo shows: how far it is, and the table at the end."""

import time
from collections.abc import Sequence
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

__all__ = ["Report", "Verdict"]

EVERY = 3.0
"""Seconds between two plain lines."""


class Report:
    """Two progress bars where a person is looking, and a plain line every few seconds elsewhere."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._next = 0.0
        columns = (TextColumn("{task.description:>10}"), BarColumn(50), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=console, disable=not console.is_terminal)
        self._published = self._bars.add_task("published", total=total)
        self._handled = self._bars.add_task("handled", total=total)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def progress(self, published: int, handled: int) -> None:
        self._bars.update(self._published, completed=published)
        self._bars.update(self._handled, completed=handled)
        if not self._console.is_terminal and time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY
            self.say(f"published {published:,}, handled {handled:,} of {self._total:,}")


class Verdict:
    """The table: a figure a row, and `faults`: what is wrong, in words."""

    def __init__(self, title: str) -> None:
        self.table = Table(title=title)
        self.table.add_column("figure")
        self.table.add_column("measured", justify="right")
        self.table.add_column("plain loop", justify="right")
        self.table.add_column("")
        self.faults: list[str] = []

    def same(self, name: str, measured: int, expected: int, wrong: Sequence[object] = ()) -> None:
        """`measured` must be `expected`, and `wrong` empty: it names what is not as it should be."""
        self._check(name, f"{measured:,}", f"{expected:,}", measured == expected and not wrong, wrong)

    def at_most(self, name: str, measured: int, bound: int) -> None:
        """`measured` must not be more than `bound`."""
        self._check(name, f"{measured:,}", f"at most {bound:,}", measured <= bound, ())

    def show(self, name: str, measured: str) -> None:
        """A figure that nobody can know beforehand."""
        self.table.add_row(name, measured, "", "")

    def _check(self, name: str, measured: str, expected: str, good: bool, wrong: Sequence[object]) -> None:
        self.table.add_row(name, measured, expected, "[green]✓[/green]" if good else "[red]✗[/red]")
        if not good:
            named = "".join(f"\n    {one}" for one in wrong[:5])
            more = f"\n    and {len(wrong) - 5} more" if len(wrong) > 5 else ""
            self.faults.append(f"{name}: {measured}, expected {expected}{named}{more}")
