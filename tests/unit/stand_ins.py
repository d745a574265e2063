"""Small, honest implementations of the waist: a broker in memory that a test can cut, stall and refuse at will.

`Bench` holds one subscription's messages. It keeps the rules of `waybill.adapter`: what is released comes back before
what came later, a settlement of what is not held answers `Lost`, a retry comes back with its count.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import msgspec

from waybill.adapter import Admin, Capabilities, Limits, Notify, Revoked, Sink, Source
from waybill.clock import SystemClock
from waybill.consumer import Consumer
from waybill.message import Delivery, Message
from waybill.observing import Handled
from waybill.options import ConsumerOptions
from waybill.outcomes import (
    DONE,
    LOST,
    Ack,
    Confirmed,
    DeadLetter,
    Defer,
    Extended,
    ExtendResult,
    Release,
    SendResult,
    Settled,
    Settlement,
    SettlementKind,
    SettleResult,
)
from waybill.retry import Retry
from waybill.topology import Destination, Subscription, TopicSpec

ALL: frozenset[SettlementKind] = frozenset({Ack, Release, Defer, DeadLetter})
LEAST: frozenset[SettlementKind] = frozenset({Ack, Release})
CAN = Capabilities(broker="the bench", ordered=True, durable=False, acks_surely=True, sends_in_order=True)


async def until(true: Callable[[], Any], *, within: float = 20.0, seen: Callable[[], object] = lambda: "") -> None:
    """Wait until `true()`, at most `within` seconds. `seen()` is what is told if it does not become so."""
    end = time.monotonic() + within
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"not within {within:g} s: {seen()!r}")
        await asyncio.sleep(0.002)


async def never(true: Callable[[], Any], *, during: float = 0.15) -> None:
    """See that `true()` does not become true for `during` seconds."""
    end = time.monotonic() + during
    while time.monotonic() < end:
        assert not true()
        await asyncio.sleep(0.005)


def message(ident: str, *, key: str | None = None, body: bytes | None = b"1", **more: Any) -> Message:
    given: dict[str, Any] = {"type": "things", "source": "test", "time": datetime.now(UTC), **more}
    return Message(id=ident, body=body, key=key, **given)


class BenchSink:
    """Stores what it is given in a list; `answer` decides otherwise."""

    def __init__(self, journal: list[str], name: str) -> None:
        self.stored: list[Message] = []
        self.name = name
        self.journal = journal
        self.answer: Callable[[Message], SendResult | None] = lambda _: None
        self.error: BaseException | None = None

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        del deadline
        if self.error is not None:
            raise self.error
        results: list[SendResult] = []
        for item in messages:
            result = self.answer(item) or Confirmed(item.id)
            if isinstance(result, Confirmed):
                self.stored.append(item)
                self.journal.append(f"{self.name} {item.id}")
            results.append(result)
        return results


class Bench:
    """One subscription's broker, and the adapter to it."""

    def __init__(
        self,
        *,
        can: Capabilities = CAN,
        native: frozenset[SettlementKind] = ALL,
        lease: float = 30.0,
    ) -> None:
        self.claims = self.capabilities = can
        self.native_settlements = native
        self.lease = lease
        self.ready: deque[Delivery[Any]] = deque()
        self.held: dict[int, Delivery[Any]] = {}
        self.settled: list[tuple[str, Settlement]] = []
        self.calls: list[list[tuple[str, Settlement]]] = []
        self.journal: list[str] = []
        """What was stored and settled, in order: `dead m1`, `Ack m1`."""
        self.asked: list[int] = []
        self.most_held = 0
        self.before_settle: Callable[[Sequence[Settled]], Awaitable[None]] | None = None
        self.after_settle: Callable[[Sequence[Settled]], Awaitable[None]] | None = None
        """Awaited when the broker has taken it, before the answer comes."""
        self.answer_settle: Callable[[Settled], SettleResult | None] = lambda _: None
        self.receive_error: BaseException | None = None
        self.quiesce_error: BaseException | None = None
        self.expired: set[str] = set()
        """Ids whose lease cannot be renewed."""
        self.extensions = 0
        self.extend_error: BaseException | None = None
        self.left = False
        self.sinks = {kind: BenchSink(self.journal, kind) for kind in ("topic", "group", "retry", "dead")}
        self._arrived = asyncio.Event()
        self._quiet = False
        self._next = 0
        self._places: dict[int, int] = {}
        """Where in the order of publishing what has this token belongs."""
        self.notify: Notify = lambda _: None

    # ------------------------------------------------------------- what a test does

    def push(self, *messages: Message, **delivery: Any) -> None:
        """Make messages available, in order."""
        for item in messages:
            self._next += 1
            self._places[self._next] = self._next
            self.ready.append(Delivery(message=item, topic="things", group="g", token=self._next, **delivery))
        self._arrived.set()

    def revoke(self, *ids: str) -> None:
        """Take these away from their holder."""
        gone = [delivery for delivery in self.held.values() if delivery.message.id in ids]
        for delivery in gone:
            del self.held[delivery.token]
        self.notify(Revoked(gone))

    def ids(self, kind: type[Any]) -> list[str]:
        """The ids settled in this way, in order."""
        return [ident for ident, settlement in self.settled if isinstance(settlement, kind)]

    # ------------------------------------------------------------- Source

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        assert limit > 0
        self.asked.append(limit)
        if self.receive_error is not None:
            error, self.receive_error = self.receive_error, None
            raise error
        while not self.ready and not self._quiet:
            self._arrived.clear()
            await self._arrived.wait()
            if self.receive_error is not None:
                error, self.receive_error = self.receive_error, None
                raise error
        if self._quiet:
            return ()
        out: list[Delivery[Any]] = []
        while self.ready and len(out) < limit:
            delivery = msgspec.structs.replace(self.ready.popleft(), lease_until=time.monotonic() + self.lease)
            self.held[delivery.token] = delivery
            out.append(delivery)
        self.most_held = max(self.most_held, len(self.held))
        return out

    def fail_receive(self, error: BaseException) -> None:
        self.receive_error = error
        self._arrived.set()

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        if self.before_settle is not None:
            await self.before_settle(settled)
        self.calls.append([(item.delivery.message.id, item.settlement) for item in settled])
        results: list[SettleResult] = []
        back: list[Delivery[Any]] = []
        for item in settled:
            assert type(item.settlement) in self.native_settlements
            ident, settlement = item.delivery.message.id, item.settlement
            answer = self.answer_settle(item)
            if answer is None and item.delivery.token not in self.held:
                answer = LOST
            if answer is not None:
                results.append(answer)
                continue
            original = self.held.pop(item.delivery.token)
            self.settled.append((ident, settlement))
            self.journal.append(f"{type(settlement).__name__} {ident}")
            if isinstance(settlement, Release) and not self._quiet:
                back.append(msgspec.structs.replace(original, redelivered=True))
            elif isinstance(settlement, Defer):
                again = msgspec.structs.replace(original, redelivered=True, attempt=settlement.attempts + 1)
                asyncio.get_running_loop().call_later(settlement.after, self._return, [again])
            results.append(DONE)
        self._return(back)
        if self.after_settle is not None:
            await self.after_settle(settled)
        return results

    def _return(self, deliveries: list[Delivery[Any]]) -> None:
        for delivery in deliveries:
            self._next += 1
            self._places[self._next] = self._places[delivery.token]
            self.ready.append(msgspec.structs.replace(delivery, token=self._next))
        if deliveries:
            self.ready = deque(sorted(self.ready, key=lambda delivery: self._places[delivery.token]))
            self._arrived.set()

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        self.extensions += 1
        if self.extend_error is not None:
            raise self.extend_error
        until_ = time.monotonic() + self.lease
        return [
            Extended(until_) if item.token in self.held and item.message.id not in self.expired else LOST
            for item in deliveries
        ]

    async def quiesce(self) -> None:
        self._quiet = True
        self._arrived.set()
        if self.quiesce_error is not None:
            raise self.quiesce_error

    # ------------------------------------------------------------- Adapter

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    @property
    def admin(self) -> Admin:
        raise LookupError("a stand-in has none")

    def limits(self, destination: Destination) -> Limits:
        del destination
        return Limits()

    def sink(self, destination: Destination) -> AbstractAsyncContextManager[Sink]:
        return self._sink(self.sinks[destination.kind])

    @asynccontextmanager
    async def _sink(self, sink: Sink) -> AsyncGenerator[Sink, None]:
        yield sink

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        del subscription, window
        self.notify = notify
        self._quiet = False
        try:
            yield self
        finally:
            self.left = True

    def dead_letters(self, subscription: Subscription) -> AbstractAsyncContextManager[Source]:
        raise LookupError("a stand-in has none")


FAST = Retry.fixed(3, delay=0.02)


@asynccontextmanager
async def consuming(
    bench: Bench,
    handler: Callable[[Delivery[Any]], Awaitable[None]],
    *,
    ordered: bool = False,
    observers: Sequence[Callable[[Handled], None]] = (),
    decode: Callable[[Message], Any] = lambda item: item.body,
    grace: float = 1.0,
    clock: Any = None,
    **options: Any,
) -> AsyncGenerator[Consumer, None]:
    """A running consumer on the bench."""
    options.setdefault("retry", FAST)
    consumer = Consumer(
        bench,
        Subscription(topic=TopicSpec("things", ordered=ordered), group="g", ordered=ordered, lease=bench.lease),
        handler,
        decode,
        ConsumerOptions(**options),
        clock=clock or SystemClock(),
        observers=observers,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop(grace)
