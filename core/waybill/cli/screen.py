"""What people see: tables that fit their terminal, columns parted by tabs in a pipe; and JSON for programs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

__all__ = ["age", "block", "document", "flagged", "heading", "laid_out", "line", "safe", "table", "tell"]

NARROWEST = 6
GAP = 2
NOTHING = {"", "-"}


def safe(text: str) -> str:
    """On one line, and without what would control a terminal: messages come from elsewhere."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


def line(text: str) -> None:
    """One line on stdout, as it is."""
    sys.stdout.write(text + "\n")


def tell(text: str) -> None:
    """One line on stderr: what happens, as opposed to what was asked for."""
    if sys.stderr.isatty():
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            Text("● ", style="cyan").append(text, style="default")
        )
    else:
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - a program's output


def document(rows: Sequence[dict[str, Any]]) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(list(rows)), indent=2).decode() + "\n")


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = (), beneath: Sequence[str] = ()
) -> None:
    """Rows under their columns' names. `numbers`: the columns that are aligned to the right.

    On a terminal where a line does not fit, what stands in the last columns, `beneath`, is put under it, and then the widest
    columns are cut until it does. In a pipe nothing is cut or padded: a tab parts the columns.
    """
    head, *rest = laid_out(columns, rows, numbers=numbers, beneath=beneath)
    if sys.stdout.isatty():
        Console(highlight=False).print(Text(head, style="bold"), soft_wrap=True)
    else:
        line(head)
    for row in rest:
        line(row)


def laid_out(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = (), beneath: Sequence[str] = ()
) -> list[str]:
    """The lines of a `table`, the columns' names first."""
    cells = [[safe(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        return ["\t".join(row) for row in (columns, *cells)]
    room = shutil.get_terminal_size().columns
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    if beneath and sum(widths) + GAP * (len(widths) - 1) > room:
        kept = len(columns) - len(beneath)
        head, *above = laid_out(columns[:kept], [row[:kept] for row in cells], numbers=numbers)
        under = [" " * (widths[0] + GAP) + _joined(row[kept:], room - widths[0] - GAP) for row in cells]
        return [head, *(line for pair in zip(above, under, strict=True) for line in pair if line.strip())]
    widths = _fit(widths, room - GAP * (len(columns) - 1))

    def row_of(row: Sequence[str]) -> str:
        parts = [
            _cell(text, width, right=column in numbers)
            for text, width, column in zip(row, widths, columns, strict=True)
        ]
        return (" " * GAP).join(parts).rstrip()

    return [row_of(columns), *map(row_of, cells)]


def _joined(cells: Sequence[str], room: int) -> str:
    text = ": ".join(cell for cell in cells if cell not in NOTHING)
    return _cell(text, min(room, cell_len(text)), right=False)


def _fit(widths: list[int], room: int) -> list[int]:
    while sum(widths) > room and max(widths) > NARROWEST:
        widest = widths.index(max(widths))
        widths = [*widths[:widest], widths[widest] - 1, *widths[widest + 1 :]]
    return widths


def _cell(text: str, width: int, *, right: bool) -> str:
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - cell_len(text)) + text if right else set_cell_size(text, width)


def age(seconds: float) -> str:
    """A duration for people: `12 s`, `5 min`, `3.2 h`, `4.0 d`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


def heading(text: str) -> None:
    """A line that stands out on a terminal."""
    if sys.stdout.isatty():
        Console(highlight=False).print(Text(safe(text), style="bold"), soft_wrap=True)
    else:
        line(safe(text))


def flagged(flag: str, text: str, *, good: bool) -> None:
    """A line with a flag before it, green or red on a terminal."""
    if sys.stdout.isatty():
        shown = Text(flag, style="green" if good else "bold red").append(f"  {text}", style="default")
        Console(highlight=False).print(shown, soft_wrap=True)
    else:
        line(f"{flag}  {text}")


def block(text: str) -> None:
    """Several lines, indented."""
    for part in text.splitlines():
        line("  " + "".join(c if c.isprintable() else "\ufffd" for c in part.expandtabs()).rstrip())
