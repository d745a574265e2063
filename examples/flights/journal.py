"""Who began to handle what and when, and how it ended: the witness that the demo's checks ask.

Each process appends to a file of its own, `<pid>.jsonl`. How a handling ended is on the disk before its message is
acknowledged, so that what the broker has forgotten stands in the journal.
"""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from waybill import Delivery, Handler, Reject

__all__ = ["Entry", "Journal", "JournalReader"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a journal."""

    what: str
    """`started`, and then one of `handled`, `failed` (again later), `rejected` (to the dead letters) and `cancelled`."""
    topic: str
    id: str
    """The message's."""
    attempt: int
    at: int
    """CLOCK_MONOTONIC in nanoseconds: one clock for all processes of a machine."""
    waited: float = 0.0
    """Seconds from publishing until the handler started."""
    pid: int = 0
    """The process; not in the file but in its name."""


class Journal:
    """Writes this process's journal. Opened when the application starts, so that importing it touches no file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = -1
        self._flushing: asyncio.Task[None] | None = None

    def middleware(self, handler: Handler) -> Handler:
        """A function from handler to handler: writes down each handling, and lets its outcome pass."""
        if self._file < 0:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._folder / f"{os.getpid()}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

        async def journaled(delivery: Delivery[Any]) -> None:
            self._add("started", delivery, time.time() - delivery.message.time.timestamp())
            ended = "cancelled"
            try:
                await handler(delivery)
                ended = "handled"
            except Exception as error:
                ended = "rejected" if isinstance(error, Reject) else "failed"
                raise
            finally:
                self._add(ended, delivery)
                await self._on_disk()

        return journaled

    def _add(self, what: str, delivery: Delivery[Any], waited: float = 0.0) -> None:
        message = delivery.message.id
        now = time.monotonic_ns()
        entry = Entry(what=what, topic=delivery.topic, id=message, attempt=delivery.attempt, at=now, waited=waited)
        os.write(self._file, json.dumps(asdict(entry)).encode() + b"\n")  # from here on it outlives this process

    async def _on_disk(self) -> None:
        """Until all that was added would outlive a power cut as well. What many handlers add together costs one flush."""
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await asyncio.shield(self._flushing)

    async def _flush(self) -> None:
        self._flushing = None
        os.fsync(self._file)


class JournalReader:
    """Reads the journals of all processes while they are written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}

    @property
    def processes(self) -> set[int]:
        """The pids of all that have started so far, with or without having handled anything."""
        return {int(path.stem) for path in self._folder.glob("*.jsonl")}

    def new(self) -> Iterator[Entry]:
        """What was added since the last call. A line that a dying process left unfinished is never read."""
        for path in sorted(self._folder.glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                whole, newline, _ = file.read().rpartition(b"\n")
            self._read[path] = self._read.get(path, 0) + len(whole) + len(newline)
            for line in whole.splitlines():
                yield replace(Entry(**json.loads(line)), pid=int(path.stem))
