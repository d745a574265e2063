"""Testing a service: its own handlers on the embedded broker, in memory, with a clock the test owns.

    async with app.test() as bus:
        await bus.publish(orders, OrderPlaced("o1", "c1"))
        await bus.drain()
        assert bus.published(invoices) == [Invoice("o1")]
        assert bus.dead_letters(orders) == []

Nothing here stands in for anything: the consumer, the producer and the SQLite code are those of production. Only the
clock is the test's: `drain` moves it to the next retry or delayed message, so retries an hour apart run at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from waybill.brokers import Brokers
from waybill.clock import TestClock
from waybill.loading import AdapterContext, open_adapter
from waybill.message import DeadLetterRecord, Message, Outgoing
from waybill.outcomes import Confirmed, DeadLetter, Defer, Done
from waybill.topic import Topic

if TYPE_CHECKING:
    from waybill.app import App
    from waybill.consumer import Handled
    from waybill.middleware import Send
    from waybill.runtime import Runtime

__all__ = ["DeadLettered", "TestBus", "open_test_bus"]

T = TypeVar("T")

STEP = 0.002
"""Seconds between two looks while `drain` waits."""


class DeadLettered(msgspec.Struct, frozen=True):
    """A dead letter a test has seen."""

    message: Message
    record: DeadLetterRecord

    @property
    def reason(self) -> str:
        return self.record.reason


class TestBus:
    """A running application, as a test holds it. Made by `App.test()`."""

    __test__ = False  # pytest: not a test class

    def __init__(self, app: App, clock: TestClock) -> None:
        self._app = app
        self._published: list[Outgoing] = []
        self._dead: list[tuple[str, DeadLettered]] = []
        self._attempts: list[Handled] = []
        self.clock = clock

    async def publish(
        self,
        topic: Topic[T],
        value: T,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        delay: float | timedelta | None = None,
        expires: float | timedelta | None = None,
        deadline: float | timedelta | None = None,
    ) -> Confirmed:
        """`App.publish`, with the same options."""
        return await self._app.publish(
            topic, value, key=key, headers=headers, delay=delay, expires=expires, deadline=deadline
        )

    async def drain(self, *, timeout: float = 10.0) -> None:  # noqa: ASYNC109 - a test wants to see what was left, not a bare TimeoutError
        """Run until every message of the application's subscriptions is handled, retried to its end or dead-lettered.

        Moves the clock to whatever is due next, as often as it takes. `timeout`: seconds of real time after which it
        raises `AssertionError` and says what was left.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while True:
            busy, due, left = await self._look()
            if not busy and due is None:
                return
            if not busy and due is not None:
                self.clock.advance(due)
            elif loop.time() > end:
                raise AssertionError(f"not drained after {timeout:g} s of real time: {left}")
            await asyncio.sleep(STEP)

    def published(self, topic: Topic[T]) -> list[T]:
        """The values that were confirmed on `topic` so far, by the test or by handlers, in order."""
        return [topic.decode(out.message) for out in self._published if out.topic == topic.name]

    def messages(self, topic: Topic[Any]) -> list[Message]:
        """Like `published`, but the messages with their ids, headers and keys."""
        return [out.message for out in self._published if out.topic == topic.name]

    def dead_letters(self, topic: Topic[Any], *, group: str | None = None) -> list[DeadLettered]:
        """What went to the dead letters of `topic` so far, of one group or of all."""
        return [
            letter
            for name, letter in self._dead
            if name == topic.name and (group is None or letter.record.group == group)
        ]

    def retries(self, topic: Topic[Any]) -> list[float]:
        """The seconds that each failed attempt on `topic` was put off, in order."""
        return [
            handled.settlement.after
            for handled in self._attempts
            if handled.delivery.topic == topic.name and isinstance(handled.settlement, Defer)
        ]

    async def advance(self, duration: float | timedelta) -> None:
        """Move the clock forward (seconds or timedelta) and let what became due be handled, without going further."""
        self.clock.advance(duration.total_seconds() if isinstance(duration, timedelta) else duration)
        loop = asyncio.get_running_loop()
        end = loop.time() + 10.0
        while (await self._look())[0]:
            if loop.time() > end:
                raise AssertionError("what became due was not handled within 10 s of real time")
            await asyncio.sleep(STEP)

    # ---------------------------------------------------------------- inside

    async def _look(self) -> tuple[bool, float | None, str]:
        """Whether anything can be handled now, the seconds until the next is due, and what is left, for people."""
        busy, dues, left = False, list[float](), list[str]()
        runtime = self._runtime
        admin = runtime.brokers.admin
        groups = [group for consumer in runtime.consumers for group in await admin.expand(consumer.subscription)]
        for group in groups:
            backlog = await admin.backlog(group)
            if backlog.ready.value or backlog.in_flight.value:
                busy = True
                left.append(f"{group.name} has {backlog.ready.value} ready and {backlog.in_flight.value} in flight")
            if backlog.next_due.value is not None:
                dues.append(backlog.next_due.value)
        return busy, min(dues, default=None), "; ".join(left)

    def _observe(self, handled: Handled) -> None:
        self._attempts.append(handled)
        if isinstance(handled.settlement, DeadLetter) and isinstance(handled.result, Done):
            letter = DeadLettered(handled.delivery.message, handled.settlement.record)
            self._dead.append((handled.delivery.topic, letter))

    def _watch(self, send: Send) -> Send:
        async def watched(outgoing: Outgoing) -> Confirmed:
            confirmed = await send(outgoing)
            self._published.append(outgoing)
            return confirmed

        return watched

    _runtime: Runtime


@asynccontextmanager
async def open_test_bus(app: App) -> AsyncGenerator[TestBus, None]:
    """Run `app` on `memory://` for the length of the block. Serves `App.test`."""
    from waybill.settings import Settings  # noqa: PLC0415 - slow to import

    clock = TestClock()
    bus = TestBus(app, clock)
    settings = Settings(url="memory://", shutdown_grace=1.0)
    watched: Sequence[Any] = (*app._send_middleware, bus._watch)
    adapter = open_adapter("memory://", AdapterContext(application=app.name, clock=clock, options={}))
    async with app._open(
        Brokers({None: adapter}, everywhere=True),
        settings,
        clock,
        consume=True,
        send_middleware=watched,
        observers=(bus._observe,),
        accept_unrouted=True,
    ) as runtime:
        bus._runtime = runtime
        yield bus
