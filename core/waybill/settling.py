"""Settling in bulk, and what a broker cannot settle by itself: publish, confirm, then acknowledge.

Everything that moves a message follows one order of work: the copy is confirmed at its new place before the original
is acknowledged. If the copy cannot be placed, the original stays unsettled and `stuck` tells the consumer to start
nothing new until it could be.
"""

from __future__ import annotations

import asyncio
import logging
import random
from asyncio import Task
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from waybill.adapter import Adapter, Sink, Source
from waybill.clock import Clock
from waybill.errors import BrokerError, one_line
from waybill.holding import Held
from waybill.message import Delivery, Message
from waybill.outcomes import (
    ACK,
    LOST,
    Confirmed,
    DeadLetter,
    Defer,
    Failed,
    Refused,
    Settled,
    Settlement,
    SettlementKind,
    SettleResult,
)
from waybill.redaction import redact
from waybill.topology import Destination

__all__ = ["Place", "Settler", "back_off"]

log = logging.getLogger("waybill.settling")

LINGER = 0.002
"""Seconds a settlement waits for others to share a call with; the handler's slot is free meanwhile."""
BATCH = 256
PATIENCE = 30.0
"""Seconds a copy is given to be confirmed at its new place before it is sent again."""


def back_off(failures: int, *, first: float = 0.1, cap: float = 5.0) -> float:
    """Seconds to wait after the n-th failure in a row: exponential, with full jitter, never quite zero."""
    return max(0.01, random.uniform(0, min(cap, first * 2 ** min(failures - 1, 30))))  # noqa: S311 - not a secret


class Place:
    """A sink that is opened at the first need of it, and left with `stack`."""

    def __init__(self, adapter: Adapter, destination: Destination, stack: AsyncExitStack) -> None:
        self._adapter = adapter
        self._destination = destination
        self._stack = stack
        self._sink: Sink | None = None

    async def sink(self) -> Sink:
        if self._sink is None:
            self._sink = await self._stack.enter_async_context(self._adapter.sink(self._destination))
        return self._sink


class Settler:
    """Gathers what has ended, settles it in bulk, and tells `on_results` what became of each."""

    def __init__(
        self,
        source: Source,
        *,
        native: frozenset[SettlementKind],
        longest_defer: float | None,
        holds_key_from: float | None,
        retry: Place,
        dead: Place,
        clock: Clock,
        on_results: Callable[[Sequence[tuple[Held, SettleResult]]], None],
        on_stuck: Callable[[str | None], None],
        sign: Callable[[Delivery[Any], DeadLetter], DeadLetter] = lambda _, letter: letter,
    ) -> None:
        """sign: says in a dead letter's record who gives it up."""
        self.source = source
        self._sign = sign
        self._native = native
        self._longest_defer = float("inf") if longest_defer is None else longest_defer
        self._holds_key_from = float("inf") if holds_key_from is None else holds_key_from
        self._place = {Defer: retry, DeadLetter: dead}
        self._clock = clock
        self._on_results = on_results
        self._on_stuck = on_stuck
        self._pending: list[Held] = []
        self._flushing: Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # not that of the handler which happened to end first
        self.lock = asyncio.Lock()
        """Held while the source settles or extends: the two never overlap for one delivery."""
        self.stuck: str | None = None
        """Why settlements cannot be placed now; `None` when they can."""

    def add(self, held: Held, settlement: Settlement) -> None:
        held.outcome = self._sign(held.delivery, settlement) if isinstance(settlement, DeadLetter) else settlement
        self._add((held,))

    def acknowledge(self, helds: Sequence[Held]) -> None:
        """`add` for many that are handled."""
        for held in helds:
            held.outcome = ACK
        self._add(helds)

    def lose(self, held: Held, settlement: Settlement) -> None:
        """`add` for one that is no longer ours: its result is known."""
        held.outcome = settlement
        self._on_results([(held, LOST)])

    @property
    def busy(self) -> bool:
        """Whether something was added that the broker has not answered yet."""
        return bool(self._pending) or self._flushing is not None

    def holds_key(self, after: float) -> bool:
        """Whether the broker keeps an ordered key's later messages back while one is deferred for so many seconds."""
        return Defer in self._native and self._holds_key_from <= after <= self._longest_defer

    def _add(self, helds: Sequence[Held]) -> None:
        if self._closed:
            return
        self._pending += helds
        if self._flushing is not None:
            return
        if len(self._pending) >= BATCH:
            self._start()
        elif self._timer is None:
            self._timer = self._loop.call_later(LINGER, self._start)

    async def drain(self) -> None:
        """Wait until all that was added is settled or lost. Takes as long as the broker is away: bound it."""
        while self._pending or self._flushing:
            self._start()
            if self._flushing is not None:
                await asyncio.wait([self._flushing])

    async def close(self) -> None:
        """Stop trying; what is still pending stays unsettled."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.wait([self._flushing])

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flushing is None and self._pending:
            self._flushing = self._loop.create_task(self._flush(), name="waybill-settle", context=self._context)

    async def _flush(self) -> None:
        failures: dict[Held, int] = {}
        try:
            while self._pending:
                batch, self._pending = self._pending, []
                batch = self._living(batch)
                try:
                    again, cause = await self._settle(batch)
                except (
                    Exception
                ) as error:  # an adapter's bug: nothing is lost by asking again, and somebody must hear of it
                    log.exception("the adapter failed to settle")
                    again, cause = batch, f"the adapter failed to settle: {one_line(error, redact)}"
                # A part of a call may fail, and another part of the next one.
                failures = {held: failures.get(held, 0) + 1 for held in again}
                if cause is None:
                    self._mark(None)
                    continue
                self._pending = again + self._pending
                most = max(failures.values(), default=1)
                if most > 1 or len(again) == len(batch):
                    self._mark(cause)
                await asyncio.sleep(back_off(most))
        finally:
            self._flushing = None

    def _mark(self, cause: str | None) -> None:
        if cause != self.stuck:
            if cause is not None:
                log.warning("settlements wait: %s", cause)
            self.stuck = cause
            self._on_stuck(cause)

    def _living(self, batch: list[Held]) -> list[Held]:
        """Those that are still ours; the others are reported as lost."""
        lost = [(held, LOST) for held in batch if held.lost]
        if not lost:
            return batch
        self._on_results(lost)
        return [held for held in batch if not held.lost]

    async def _settle(self, batch: list[Held]) -> tuple[list[Held], str | None]:
        """What could not be settled now, in order, and why."""
        again: list[Held] = []
        cause: str | None = None
        if not all(held.outcome is ACK or self._is_native(held) for held in batch):
            batch, again, cause = await self._emulate(batch)
        if not batch:
            return again, cause
        try:
            async with self.lock:
                results = await self.source.settle(_asked(batch))
        except BrokerError as error:
            return _unasked(batch) + again, str(error)
        except BaseException:
            _unasked(batch)
            raise
        taken: list[tuple[Held, SettleResult]] = []
        for pair in zip(batch, results, strict=True):
            held, result = pair
            if type(result) is Failed:
                again += _unasked([held])
                cause = result.cause
            else:
                taken.append(pair)
        self._on_results(taken)
        return again, cause

    async def _emulate(self, batch: Sequence[Held]) -> tuple[list[Held], list[Held], str | None]:
        """Place the copies that the broker cannot make by itself. What is placed is left to acknowledge."""
        ready: list[Held] = []
        moving: dict[type[Defer | DeadLetter], list[Held]] = {}
        for held in batch:
            settlement = held.outcome
            if self._is_native(held):
                ready.append(held)
            elif isinstance(settlement, Defer | DeadLetter):
                moving.setdefault(type(settlement), []).append(held)
            else:
                raise TypeError(f"an adapter must settle {type(settlement).__name__} by itself")
        again: list[Held] = []
        cause: str | None = None
        for kind, helds in moving.items():
            try:
                sink = await self._place[kind].sink()
                results = await sink.send([self._copy(held) for held in helds], deadline=self._loop.time() + PATIENCE)
            except BrokerError as error:
                again += helds
                cause = str(error)
                continue
            for held, result in zip(helds, results, strict=True):
                if isinstance(result, Confirmed):
                    held.placed = True  # if the acknowledgement fails now, only that is repeated
                    ready.append(held)
                else:
                    again.append(held)
                    cause = result.reason if isinstance(result, Refused) else result.cause
        return ready, again, cause

    def _is_native(self, held: Held) -> bool:
        settlement = held.outcome
        if held.placed:
            return True
        if type(settlement) not in self._native:
            return False
        return not (isinstance(settlement, Defer) and settlement.after > self._longest_defer)

    def _copy(self, held: Held) -> Message:
        message = held.delivery.message
        settlement = held.outcome
        if isinstance(settlement, Defer):
            return msgspec.structs.replace(
                message,
                due=datetime.fromtimestamp(self._clock.time(), UTC) + timedelta(seconds=settlement.after),
                attempts=settlement.attempts,
                first_failure=settlement.first_failure,
            )
        assert isinstance(settlement, DeadLetter)  # noqa: S101 - _emulate asks for these two only
        return msgspec.structs.replace(message, due=None, dead=settlement.record)


def _asked(batch: Sequence[Held]) -> list[Settled]:
    """What the source is asked for. Their deliveries keep their tokens until it has answered."""
    for held in batch:
        held.asked = True
    return [Settled(held.delivery, ACK if held.placed else held.outcome or ACK) for held in batch]


def _unasked(batch: list[Held]) -> list[Held]:
    for held in batch:
        held.asked = False
    return batch
