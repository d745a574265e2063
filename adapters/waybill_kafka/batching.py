"""One partition's records on their way: queued, then in a batch, then decided. No I/O.

A partition has one batch on the wire at a time; what comes meanwhile gathers for the next. So of one key's records none is
stored behind one that is not: when a batch fails, what waits behind it under its keys is refused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from waybill.outcomes import Confirmed, Refused, SendResult, Unknown
from waybill_kafka.client import Batch, Producer

__all__ = ["NO_ANSWER", "QUEUED", "Outbound", "Queue", "Sending"]

QUEUED = Refused("the broker cannot be reached: no answer in time", transient=True)
NO_ANSWER = Unknown("no answer in time")
BEHIND = Refused("an earlier message of its key may or may not be stored", transient=True)


class Outbound(NamedTuple):
    """A record on its way, and the id of its message."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    id: str


class Sending:
    """The records of one call of `send`, and what has become of them so far."""

    __slots__ = ("deadline", "decided", "left", "over", "producer", "records", "results")

    def __init__(self, records: Sequence[Outbound], deadline: float) -> None:
        self.records = records
        self.results: list[SendResult] = [QUEUED] * len(records)
        self.left = len(records)
        self.deadline = deadline
        self.decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.over = False
        """Nobody waits for it any more."""
        self.producer: Producer | None = None
        """Where the last of them was handed over."""

    def decide(self, place: int, result: SendResult) -> None:
        if self.over:
            return
        self.results[place] = result
        self.left -= 1
        if not self.left and not self.decided.done():
            self.decided.set_result(None)

    @property
    def doubtful(self) -> set[bytes | None]:
        """The keys of those that are on the wire."""
        return {
            record.key for record, result in zip(self.records, self.results, strict=True) if result is NO_ANSWER
        } - {None}


class Queue:
    """One partition's."""

    def __init__(self, topic: str, number: int) -> None:
        self.topic = topic
        self.number = number
        self.task: asyncio.Task[None] | None = None
        """What carries it to the broker."""
        self._queued: deque[tuple[Sending, int]] = deque()
        self._flying: list[tuple[Sending, int]] = []
        self._doubtful: dict[bytes | None, Sending] = {}
        """Keys of what failed, as long as those who sent it have not been told."""

    def add(self, sending: Sending, place: int) -> None:
        if self._doubtful:
            self._doubtful = {key: other for key, other in self._doubtful.items() if not other.over}
            if sending.records[place].key in self._doubtful:
                sending.decide(place, BEHIND)
                return
        self._queued.append((sending, place))

    @property
    def waits(self) -> bool:
        """Whether somebody still waits for something that is queued."""
        while self._queued and self._queued[0][0].over:
            self._queued.popleft()
        return bool(self._queued)

    def fill(self, batch: Batch, producer: Producer) -> float:
        """Move into the batch what it takes. Answers until when its answer is waited for."""
        queued, flying = self._queued, self._flying
        until = 0.0
        while queued:
            sending, place = queued[0]
            if not sending.over:
                record = sending.records[place]
                if batch.append(timestamp=None, key=record.key, value=record.value, headers=record.headers) is None:
                    break
                flying.append((sending, place))
                sending.results[place] = NO_ANSWER
                sending.producer = producer
                until = max(until, sending.deadline)
            queued.popleft()
        batch.close()
        return until

    def take_back(self) -> None:
        """The batch was not sent."""
        for sending, place in self._flying:
            if not sending.over:
                sending.results[place] = QUEUED
        self._queued.extendleft(reversed(self._flying))
        self._flying = []

    def confirm(self, offset: int) -> None:
        """The batch lies there from this offset on; below 0: it lies there, and nobody remembers where."""
        where = f"{self.topic}/{self.number}@"
        for behind, (sending, place) in enumerate(self._flying):
            position = f"{where}{offset + behind}" if offset >= 0 else ""
            sending.decide(place, Confirmed(sending.records[place].id, position))
        self._flying = []

    def fail(self, result: SendResult) -> None:
        """That became of the whole batch. What waits behind it goes on, except under its keys."""
        doubtful: dict[bytes | None, Sending] = {}
        for sending, place in self._flying:
            if not sending.over:  # else those behind it were refused at its deadline
                doubtful[sending.records[place].key] = sending
                sending.decide(place, result)
        self._flying = []
        doubtful.pop(None, None)
        self._doubtful |= doubtful
        self.refuse_behind(doubtful)

    def refuse_behind(self, keys: Iterable[bytes | None]) -> None:
        """Let nothing pass that waits under these keys."""
        if not (known := frozenset(keys)):
            return
        kept: deque[tuple[Sending, int]] = deque()
        for sending, place in self._queued:
            if sending.records[place].key in known:
                sending.decide(place, BEHIND)
            else:
                kept.append((sending, place))
        self._queued = kept
