"""What a process has in use: to see that nothing is left of what has stopped."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

__all__ = ["in_use", "left_since", "resident"]


def in_use() -> dict[str, set[object]]:
    """The tasks, threads and open files (sockets among them) that this process has."""
    gc.collect()
    return {"tasks": {*asyncio.all_tasks()}, "threads": {*threading.enumerate()}, "files": {*_files()}}


def left_since(before: Mapping[str, set[object]], *, least: int = 1) -> list[str]:
    """How much more there is than before, where it is `least` of a kind or more, in words."""
    more = {what: len(found) - len(before[what]) for what, found in in_use().items()}
    return [f"{count} {what}" for what, count in more.items() if count >= least]


def resident(pid: int) -> float:
    """MB of memory that a process occupies; 0 where that cannot be seen."""
    with suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0


def _files() -> Iterator[tuple[int, int, int]]:
    """What is open, by its number and where it leads; nothing where that cannot be seen."""
    opened = Path("/dev/fd")
    for number in [int(entry.name) for entry in opened.iterdir()] if opened.is_dir() else []:
        with suppress(OSError):  # the one that was opened to look
            found = os.fstat(number)
            yield number, found.st_dev, found.st_ino
