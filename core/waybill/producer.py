"""One topic's producer: many callers, one feeder.

`send` puts a message into a bounded queue and waits for its outcome. The feeder hands the sink all that has gathered;
while that is on the wire the next lot gathers, so no timer is needed. A few sends may overlap, but never with two
messages of one key: a key's order does not hang on which of two calls the broker answers first. After an `Unknown`,
what waits behind it under the same key is refused rather than sent past it.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future, Task
from collections import deque
from contextvars import copy_context

import msgspec

from waybill.adapter import Sink
from waybill.errors import BrokerError, ClosedError, PublishRefused, PublishUnknown, one_line
from waybill.message import Message
from waybill.outcomes import Confirmed, Refused, SendResult, Unknown
from waybill.redaction import redact

__all__ = ["Producer"]

log = logging.getLogger("waybill.producer")

BATCH = 512
"""Messages handed to the sink at once."""
OVERLAP = 4
"""Sends on the wire at once."""
PATIENCE = 30.0
"""Seconds that `PublishUnknown.retry` waits for its confirmation."""
TICK = 0.05
"""Seconds between looks at the deadlines: one timer for all callers."""


class Pending(msgspec.Struct, eq=False):
    """One message on its way: queued, then on the wire, then decided."""

    message: Message
    outcome: Future[SendResult]
    deadline: float

    def decide(self, result: SendResult) -> None:
        if not self.outcome.done():
            self.outcome.set_result(result)


class Producer:
    """Sends to one destination. Used on one event loop.

    What a lot of messages is sent in is a copy of the context this is made in: they are of many callers, and no one's.
    """

    def __init__(self, sink: Sink, *, topic: str, buffer: int = 10_000, sends_in_order: bool = False) -> None:
        self._sink = sink
        self.topic = topic
        self._buffer = buffer
        self._sends_in_order = sends_in_order
        self._queue: deque[Pending] = deque()
        self._wire: set[Pending] = set()
        self._busy: set[str] = set()
        self._sends: set[Task[None]] = set()
        self._room: deque[Future[None]] = deque()
        self._reserved = 0
        """Places in the queue that are given to callers who have waited and not come yet."""
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # not that of whoever happens to publish first
        self._pumping = False
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.trouble: str | None = None
        """Why the broker did not take the last that was sent; `None` when it did."""

    @property
    def waiting(self) -> int:
        """Messages that are not decided yet."""
        return len(self._queue) + len(self._wire)

    async def send(self, message: Message, *, deadline: float) -> Confirmed:
        """Send and wait for the confirmation, at most until `deadline` (the loop's clock).

        Raises `PublishRefused`, `PublishUnknown` or `ClosedError`. Waits for room while the buffer is full. Cancelled
        before it was handed to the sink, the message is not sent; afterwards it may be.
        """
        result = await (self.offer(message, deadline) or await self.submit(message, deadline=deadline))
        if type(result) is Confirmed:
            return result
        raise self.error(message, result)

    def error(self, message: Message, result: Refused | Unknown | Confirmed) -> PublishRefused | PublishUnknown:
        """The exception for what did not end in a confirmation."""
        if isinstance(result, Refused):
            text = f"{self.topic}: message {message.id} was not stored: {result.reason}"
            return PublishRefused(text, topic=self.topic, message_id=message.id)
        cause = result.cause if isinstance(result, Unknown) else "no answer"
        text = (
            f"{self.topic}: message {message.id} may or may not be stored: {cause}. "
            f"`await error.retry()` sends it again under the same id"
        )
        return PublishUnknown(text, topic=self.topic, message_id=message.id, retry=lambda: self._again(message))

    async def _again(self, message: Message) -> Confirmed:
        return await self.send(message, deadline=self._loop.time() + PATIENCE)

    async def submit(self, message: Message, *, deadline: float) -> Future[SendResult]:
        """Queue the message; the future brings its outcome and never raises. Waits for room until `deadline`."""
        outcome = self.offer(message, deadline)
        if outcome is not None:
            return outcome
        try:
            async with asyncio.timeout_at(deadline):
                await self._turn()
        except TimeoutError:
            refused: Future[SendResult] = self._loop.create_future()
            waiting = len(self._queue)
            refused.set_result(Refused(f"{waiting} messages are waiting to be sent and none could be by the deadline"))
            return refused
        self._reserved -= 1
        return self._enqueue(message, deadline)

    def offer(self, message: Message, deadline: float) -> Future[SendResult] | None:
        """Like `submit` where there is room at once; `None` where there is not, or others have waited for it longer."""
        if self._room or len(self._queue) + self._reserved >= self._buffer:
            return None
        return self._enqueue(message, deadline)

    def _enqueue(self, message: Message, deadline: float) -> Future[SendResult]:
        if self._closed:
            raise ClosedError(f"{self.topic}: the application is stopping, nothing more can be published")
        outcome: Future[SendResult] = self._loop.create_future()
        self._queue.append(Pending(message, outcome, deadline))
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump, context=self._context)
        if self._timer is None:
            self._timer = self._loop.call_later(TICK, self._tick, context=self._context)
        return outcome

    async def close(self, grace: float) -> None:
        """Send what is queued and wait for every answer, at most `grace` seconds; the rest is refused or unknown."""
        self._closed = True
        end = self._loop.time() + grace
        while (self._queue or self._sends) and self._loop.time() < end:
            self._pump()
            if self._sends:
                await asyncio.wait(self._sends, timeout=end - self._loop.time(), return_when=asyncio.FIRST_COMPLETED)
        for pending in self._queue:
            pending.decide(Refused("the application stopped before it could be sent"))
        self._queue.clear()  # before what is on the wire ends, or that would send more
        for task in self._sends:
            task.cancel()
        if self._sends:
            await asyncio.wait(self._sends)
        for pending in self._wire:  # a send that was cancelled before its first step
            pending.decide(Unknown("the application stopped before the answer came"))
        self._make_room()
        if self._timer is not None:
            self._timer.cancel()

    # ---------------------------------------------------------------- inside

    async def _turn(self) -> None:
        """Wait, in order, until a place in the queue is reserved for this caller."""
        turn: Future[None] = self._loop.create_future()
        self._room.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._reserved -= 1  # it had its turn already: pass it on
                self._make_room()
            elif turn in self._room:
                self._room.remove(turn)
            raise

    def _make_room(self) -> None:
        free = len(self._room) if self._closed else self._buffer - len(self._queue) - self._reserved
        while free > 0 and self._room:
            turn = self._room.popleft()
            if not turn.done():
                free -= 1
                self._reserved += 1
                turn.set_result(None)

    def _pump(self) -> None:
        self._pumping = False
        while self._queue and len(self._sends) < OVERLAP:
            batch = self._take()
            if not batch:
                break
            self._busy.update(pending.message.key for pending in batch if pending.message.key is not None)
            self._wire.update(batch)
            context = self._context.copy()  # each its own: they overlap
            task = self._loop.create_task(self._send(batch), name=f"waybill-send {self.topic}", context=context)
            self._sends.add(task)
        if self._room:
            self._make_room()

    def _take(self) -> list[Pending]:
        """The next batch, in order, without those whose key is on the wire and all that come behind them under that key."""
        batch: list[Pending] = []
        kept: list[Pending] = []
        queue = self._queue
        busy = self._busy if self._sends_in_order else set(self._busy)
        while queue and len(batch) < BATCH and len(kept) < BATCH:
            pending = queue.popleft()
            if pending.outcome.done():
                continue  # given up by its caller, or past its deadline: certainly not sent
            if busy and pending.message.key in busy:
                kept.append(pending)
            else:
                batch.append(pending)
                if not self._sends_in_order and pending.message.key is not None:
                    busy.add(pending.message.key)
        queue.extendleft(reversed(kept))
        return batch

    async def _send(self, batch: list[Pending]) -> None:
        results: list[SendResult]
        try:
            deadline = max(pending.deadline for pending in batch)
            results = list(await self._sink.send([pending.message for pending in batch], deadline=deadline))
        except BrokerError as error:
            results = [Unknown(str(error))] * len(batch)
        except asyncio.CancelledError:
            results = [Unknown("the application stopped before the answer came")] * len(batch)
        except Exception as error:  # an adapter's bug: the callers must not wait for ever because of it
            log.exception("%s: the adapter failed", self.topic)
            results = [Unknown(f"the adapter failed: {one_line(error, redact)}")] * len(batch)
        if len(results) != len(batch):
            log.error("%s: the adapter gave %d results for %d messages", self.topic, len(results), len(batch))
            results = [Unknown("the adapter did not say what became of it")] * len(batch)
        self._decide(batch, results)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - always run as a task
        self._sends.discard(task)
        if self._queue and not self._pumping:
            self._pump()

    def _decide(self, batch: list[Pending], results: list[SendResult]) -> None:
        doubtful: dict[str, str] = {}
        last = results[-1]
        if type(last) is Unknown:
            self.trouble = last.cause
        else:
            self.trouble = last.reason if type(last) is Refused and last.transient else None
        for pending, result in zip(batch, results, strict=True):
            key = pending.message.key
            if key is not None:
                self._busy.discard(key)
                if type(result) is Unknown:
                    doubtful[key] = pending.message.id
            pending.decide(result)
        self._wire.difference_update(batch)
        if doubtful:
            self._refuse_behind(doubtful)

    def _refuse_behind(self, doubtful: dict[str, str]) -> None:
        """Refuse what waits behind a message in doubt (by key, its id), but not that message, sent once more."""
        for pending in self._queue:
            key = pending.message.key
            if key is not None and doubtful.get(key, pending.message.id) != pending.message.id:
                pending.decide(
                    Refused(
                        f"an earlier message of key {pending.message.key!r} may or may not be stored; publish both again in order"
                    )
                )

    def _tick(self) -> None:
        """Give up what is past its deadline."""
        self._timer = None
        now = self._loop.time()
        doubtful: dict[str, str] = {}
        for pending in self._queue:
            if pending.deadline < now:
                pending.decide(Refused("not sent by its deadline: the broker did not take what was before it"))
        for pending in self._wire:
            if pending.deadline < now:
                pending.decide(Unknown("no answer by its deadline"))
                if pending.message.key is not None:
                    doubtful[pending.message.key] = pending.message.id
        if doubtful:
            self._refuse_behind(doubtful)
        if self._queue or self._wire:
            self._timer = self._loop.call_later(TICK, self._tick, context=self._context)
