"""What was handled long ago, handled once more: by a throwaway group, marked, and as slowly as is wanted.

A consumer like any other reads a stretch of history instead of what is new. No group is touched, and nothing is left behind:
what fails is counted and logged, and becomes nobody's dead letter.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Self

import msgspec

from waybill.adapter import Adapter, Capabilities, Limits, Notify, Sink, Source
from waybill.clock import Clock
from waybill.consumer import Consumer
from waybill.errors import BrokerError, CapabilityError, ConfigurationError, shown
from waybill.gaps import REPLAYS
from waybill.history import KeepsHistory, Past, Stretch
from waybill.message import Delivery, Message
from waybill.middleware import BatchHandler, Handler
from waybill.outcomes import (
    DONE,
    Ack,
    DeadLetter,
    Defer,
    Extended,
    ExtendResult,
    Release,
    Settled,
    SettlementKind,
    SettleResult,
)
from waybill.pace import Pace
from waybill.registration import Registration
from waybill.topology import Destination, Subscription, TopicSpec, Topology, fits

__all__ = ["Replayed", "history_of", "replay"]

log = logging.getLogger("waybill.replaying")

ALL: frozenset[SettlementKind] = frozenset({Ack, Defer, Release, DeadLetter})
REST = 1.0
"""Seconds that `receive` waits at most."""
GIVE_UP = 5
"""Reads in a row that may fail."""


class Replayed(msgspec.Struct, frozen=True):
    """What became of a stretch of history."""

    handled: int = 0
    failed: int = 0
    """Not handled in the end: rejected, out of attempts, unreadable, or expired by now. Each is in the log."""
    unwanted: int = 0
    """Looked at and left."""
    cause: str = ""
    """Why the first failed."""

    @property
    def seen(self) -> int:
        return self.handled + self.failed + self.unwanted


def history_of(adapter: Adapter, topic: TopicSpec) -> KeepsHistory:
    """The way to what the topic has kept. Raises `CapabilityError` with what would serve instead."""
    can = adapter.capabilities
    if can.replays and isinstance(adapter, KeepsHistory):
        return adapter
    name, broker = topic.name, can.broker
    if can.history:
        raise CapabilityError(
            f"{name}: {broker} gives what a topic has kept to new groups alone, and whole: consume it with a group of "
            f"another name and start='earliest'; or use a broker that lets anybody read it ({REPLAYS})"
        )
    raise CapabilityError(
        f"{name}: {broker} keeps nothing that was handled: give the topic a group that stores what may be wanted again; "
        f"send what failed once more with `waybill dlq redrive`; or use a broker that lets anybody read it ({REPLAYS})"
    )


async def replay(
    adapter: Adapter,
    registration: Registration,
    handler: Handler | BatchHandler,
    stretch: Stretch,
    *,
    clock: Clock,
    grace: float,
    wanted: Callable[[Message], bool] = lambda _: True,
    rate: float | None = None,
    limit: int | None = None,
    on_progress: Callable[[Replayed], None] = lambda _: None,
) -> Replayed:
    """Serves `App.replay`. `handler`: the registration's pipeline. `grace`: seconds that it has when this is cancelled."""
    history, pace = history_of(adapter, registration.subscription.topic), Pace(rate, of="messages")
    if limit is not None and limit < 1:
        raise ConfigurationError(f"limit={limit}: at least 1; None for all")
    given = registration.subscription
    subscription = msgspec.structs.replace(given, group=f"{given.group}~replay", where=(), ephemeral=True)

    def takes(message: Message) -> bool:
        return stretch.holds(message) and fits(given.where, message.headers) and wanted(message)

    async with history.past(subscription, stretch) as past:
        source = _Source(past, takes, pace, limit, on_progress)
        options, decode = registration.options, registration.topic.decode
        remote = registration.topic.remote is not None
        shadow = _Shadow(adapter, source)
        consumer = Consumer(shadow, subscription, handler, decode, options, clock=clock, remote=remote)
        await consumer.start()
        try:
            await source.over.wait()
        finally:
            await consumer.stop(grace)
    if source.error is not None:
        raise source.error
    return source.result


class _Source:
    """A stretch of history as a way out: what is deferred or given back waits here, and what is settled is counted."""

    def __init__(
        self,
        past: Past,
        takes: Callable[[Message], bool],
        pace: Pace,
        limit: int | None,
        on_progress: Callable[[Replayed], None],
    ) -> None:
        self._past = past
        self._takes = takes
        self._pace = pace
        self._room = float("inf") if limit is None else limit
        self._on_progress = on_progress
        self._ahead: deque[Delivery[Any]] = deque()
        self._out: set[Any] = set()
        self._again: list[tuple[float, int, Delivery[Any]]] = []
        self._turn = itertools.count()
        self._quiet = asyncio.Event()
        self._read = False
        self._vain = 0
        self._now = asyncio.get_running_loop().time
        self.over = asyncio.Event()
        self.result = Replayed()
        self.error: BrokerError | None = None

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        if self._quiet.is_set():
            return ()
        if again := self._due(limit):
            return again
        if self._over():
            self._end()
            soon = self._now() + REST
            await self._rest(min(soon, self._again[0][0]) if self._again else soon)
            return ()
        if not self._ahead:
            found = await self._next(self._pace.batch)
            self._ahead.extend(delivery for delivery in found if self._takes(delivery.message))
            self._count(unwanted=len(found) - len(self._ahead))
        most = int(min(limit, self._pace.chunk, self._room, len(self._ahead)))
        if most:
            await self._rest(self._pace.next(most))
        if self._quiet.is_set():
            return ()
        self._room -= most
        return [self._handed(msgspec.structs.replace(self._ahead.popleft(), replayed=True)) for _ in range(most)]

    async def _next(self, limit: int) -> Sequence[Delivery[Any]]:
        try:
            found = await self._past.read(limit)
        except BrokerError as error:
            self._vain += 1
            if self._vain < GIVE_UP:
                raise
            self.error, found = error, None
        else:
            self._vain = 0
        self._read = found is None
        return found or ()

    def _due(self, limit: int) -> list[Delivery[Any]]:
        found: list[Delivery[Any]] = []
        while self._again and len(found) < limit and self._again[0][0] <= self._now():
            found.append(self._handed(heapq.heappop(self._again)[2]))
        return found

    def _handed(self, delivery: Delivery[Any]) -> Delivery[Any]:
        token = object()
        self._out.add(token)
        return msgspec.structs.replace(delivery, token=token, _holder=None, _value=msgspec.UNSET)

    async def _rest(self, until: float) -> None:
        """Wait, but no longer than until nothing is wanted any more."""
        try:
            async with asyncio.timeout_at(until):
                await self._quiet.wait()
        except TimeoutError:
            pass

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        for item in settled:
            if item.delivery.token in self._out:
                self._out.discard(item.delivery.token)
                self._settle(item)
        self._end()
        return [DONE] * len(settled)

    def _settle(self, item: Settled) -> None:
        delivery, settlement = item.delivery, item.settlement
        if isinstance(settlement, Ack):
            self._count(handled=1)
        elif isinstance(settlement, DeadLetter):
            record = settlement.record
            why = f"{record.reason}: {record.detail}".removesuffix(": ")
            log.warning("%s: message %s failed: %s", delivery.topic, shown(delivery.message.id), why)
            self._count(failed=1, cause=why)
        elif isinstance(settlement, Defer):
            failed = msgspec.structs.replace(delivery.message, first_failure=settlement.first_failure)
            self._put_off(msgspec.structs.replace(delivery, message=failed), settlement.after, settlement.attempts)
        elif not self._quiet.is_set():
            self._put_off(delivery, 0.0, settlement.attempts or delivery.attempt - 1)

    def _put_off(self, delivery: Delivery[Any], after: float, attempts: int) -> None:
        later = msgspec.structs.replace(delivery, attempt=1 + attempts)
        heapq.heappush(self._again, (self._now() + after, next(self._turn), later))

    def _count(self, *, handled: int = 0, failed: int = 0, unwanted: int = 0, cause: str = "") -> None:
        before = self.result
        self.result = Replayed(
            before.handled + handled, before.failed + failed, before.unwanted + unwanted, before.cause or cause
        )
        self._on_progress(self.result)

    def _over(self) -> bool:
        """Whether nothing more is to be handed out for the first time."""
        return self._room < 1 or (self._read and not self._ahead)

    def _end(self) -> None:
        if self._over() and not self._out and not self._again:
            self.over.set()

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        return [Extended(float("inf"))] * len(deliveries)

    async def quiesce(self) -> None:
        self._quiet.set()


class _Shadow:
    """An adapter of which a consumer sees one source, and whose broker hears nothing of what becomes of its deliveries."""

    native_settlements = ALL

    def __init__(self, inner: Adapter, source: Source) -> None:
        self._inner = inner
        self._source = source
        self.admin = inner.admin
        self.claims = self.capabilities = Capabilities(
            broker=inner.capabilities.broker,
            version=inner.capabilities.version,
            ordered=True,
            durable=True,
            acks_surely=True,
            filters=True,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def gaps(self, topology: Topology) -> Sequence[str]:
        del topology
        return ()

    def limits(self, destination: Destination) -> Limits:
        return self._inner.limits(destination)

    def sink(self, destination: Destination) -> AbstractAsyncContextManager[Sink]:
        return self._inner.sink(destination)

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        del subscription, window, notify
        yield self._source

    def dead_letters(self, subscription: Subscription) -> AbstractAsyncContextManager[Source]:
        return self._inner.dead_letters(subscription)
