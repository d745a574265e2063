"""Receives of one queue: as many at once as bring full batches, and one long poll while there is nothing."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Callable
from math import ceil
from typing import Any

import msgspec

from waybill.errors import BrokerError, BrokerUnavailable
from waybill_sqs.client import Aws
from waybill_sqs.limits import BATCH

__all__ = ["Came", "Receivers", "counted", "seconds", "wanted_receivers"]

MARGIN = 0.5
"""Seconds that an answer may lie here before it is read."""


class Came(msgspec.Struct, frozen=True):
    """A message as it came, and until when it is ours by this process's clock."""

    native: dict[str, Any]
    lease_until: float


def wanted_receivers(now: int, brought: int, asked: int, most: int) -> int:
    """How many receives there shall be after one that `asked` for so many messages and `brought` so many."""
    if not brought:
        return 1
    return min(most, now * 2) if brought >= asked else max(1, now - 1)


class Receivers:
    """Never asks for more than there is room for. What comes lies in `ready`, and `news` is called."""

    def __init__(self, aws: Aws, url: str, *, lease: float, fifo: bool, news: Callable[[], None]) -> None:
        self._aws = aws
        self._url = url
        self._lease = lease
        self._fifo = fifo
        self._news = news
        self.ready: deque[Came] = deque()
        self.error: BrokerError | None = None
        """What the last receive came back with; whoever looked takes it away."""
        self.well = True
        """Whether the last receive that ended was."""
        self._polls: dict[asyncio.Task[None], int] = {}
        """Those that are under way, and how many messages each may bring."""
        self._wanted = 1
        self._put_off = 0.0
        self._again: list[str] = []
        """Receives of a FIFO queue that failed: tried again by their names, they bring what they had been answered."""

    @property
    def polling(self) -> bool:
        return bool(self._polls)

    def ask(self, room: int) -> float:
        """Start what receives there shall be for so much room, and say in how many seconds to ask again; 0: at news."""
        free = room - len(self.ready) - sum(self._polls.values())
        if free > 0 and len(self._polls) < self._wanted and (wait := self._put_off - time.monotonic()) > 0:
            return wait
        while free > 0 and len(self._polls) < self._wanted:
            asked = min(BATCH, free)
            free -= asked
            task = asyncio.get_running_loop().create_task(self._poll(asked), name="waybill-sqs-receive")
            self._polls[task] = asked
        return 0.0

    async def _poll(self, asked: int) -> None:
        attempt = self._again.pop() if self._again else uuid.uuid4().hex
        given: dict[str, Any] = {"ReceiveRequestAttemptId": attempt} if self._fifo else {}
        begun = time.monotonic()
        try:
            found = await self._aws.poll(
                QueueUrl=self._url,
                MaxNumberOfMessages=asked,
                WaitTimeSeconds=self._aws.table.wait,
                VisibilityTimeout=seconds(self._lease),
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
                **given,
            )
        except BrokerError as error:
            self._fail(error, attempt)
        except Exception as error:  # noqa: BLE001 - whoever receives must hear of it
            self._fail(BrokerUnavailable(f"cannot receive: {error!r}"), attempt)
        else:
            self._bring(found, asked, begun)
        finally:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - always run as a task
            self._polls.pop(task, None)
            self._news()

    def _fail(self, error: BrokerError, attempt: str) -> None:
        self.error, self.well, self._wanted = error, False, 1
        self._again = [*self._again, attempt][-self._aws.table.receivers :]

    def _bring(self, found: list[dict[str, Any]], asked: int, begun: float) -> None:
        self.error, self.well = None, True
        most = self._aws.table.receivers
        self._wanted = max(wanted_receivers(len(self._polls), len(found), asked, most), min(len(self._again), most))
        if found and len(found) < asked:
            self._put_off = time.monotonic() + self._aws.table.receive_linger
        # Hidden when SQS answered; a receive that waited was answered at its end, as far as can be known here.
        now = time.monotonic()
        until = now + counted(self._lease) - min(now - begun, self._lease / 10)
        self.ready.extend(Came(native, until) for native in found)

    async def finish(self, patience: float) -> None:
        """Let what is under way come back, for so long; then break it off, which may strand what it was about to bring."""
        if self._polls:
            await asyncio.wait(list(self._polls), timeout=patience)
        for task in list(self._polls):
            task.cancel()
        if self._polls:
            await asyncio.wait(list(self._polls))


def seconds(lease: float) -> int:
    """For how long SQS hides what is leased for so long: in whole seconds, and one more."""
    return ceil(lease) + 1


def counted(lease: float) -> float:
    """For how much of that we take it to be ours."""
    return seconds(lease) - MARGIN
