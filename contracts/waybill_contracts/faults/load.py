"""Publishing for ever, and journalling each attempt before it is made and what became of it after."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from waybill import App, BrokerError, PublishRefused, PublishUnknown, Topic
from waybill_contracts.tasks import Step, Task, ready

__all__ = ["KEYS", "Load", "publish_until_told"]

KEYS = 20
"""Publishers at once, each with a key of its own: so many publishes have no outcome when all of them are cut."""


class Load:
    """As long as its block lasts, one publisher a key, whose numbers rise. At its end those that are under way are decided."""

    def __init__(
        self,
        app: App,
        topic: Topic[Task],
        write: Callable[[Step], None],
        *,
        seed: int,
        keys: int = KEYS,
        pause: float = 0.1,
        busy: float = 0.02,
        failing: float = 0.05,
        deadline: float = 10.0,
        do: str = "",
        pad: int = 0,
    ) -> None:
        """pause: seconds between two publishes of a key, at most; busy: that a handler takes, at most. failing: how many of
        the tasks raise once. do: what else they do. pad: bytes that each has more."""
        self._app, self._topic, self._write = app, topic, write
        self._keys = [f"k{number}" for number in range(keys)]
        self._seed, self._pause, self._busy, self._failing = seed, pause, busy, failing
        self._deadline, self._do, self._pad = deadline, do, " " * pad
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._one_key(key)) for key in self._keys]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
            return
        await self.end()

    async def end(self) -> None:
        """Publish no more; returns when what is under way is decided."""
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _one_key(self, key: str) -> None:
        chance = random.Random(f"{self._seed} {key}")
        while not self._stop.is_set():
            failing = " fail=1" if chance.random() < self._failing else ""
            do = f"sleep={chance.uniform(0, self._busy):.3f}{failing} {self._do}{self._pad}"
            task = Task(time.monotonic_ns(), key, do)  # rises, also when the publisher is started again
            self._note("try", task)
            self._note(await self._publish(task), task)
            await asyncio.sleep(chance.uniform(0, self._pause))

    async def _publish(self, task: Task) -> str:
        try:
            await self._app.publish(self._topic, task, deadline=self._deadline)
        except PublishUnknown:
            return "unknown"
        except (PublishRefused, BrokerError):  # a BrokerError: its topic could not be declared
            return "refused"
        return "ok"

    def _note(self, what: str, task: Task) -> None:
        self._write(Step(what, task.number, task.key, 0, os.getpid(), time.monotonic(), topic=self._topic.name))


async def publish_until_told(
    app: App, topic: Topic[Task], write: Callable[[Step], None], options: dict[str, Any]
) -> None:
    """What a publisher's process does until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with app.running(consume=False):
        write(ready())
        async with Load(app, topic, write, **options):
            await stop.wait()
