"""What a test holds: `TestBus`, the application while it runs on the embedded broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

import msgspec

from waybill.brokers import Brokers
from waybill.clock import TestClock
from waybill.errors import ItemsFailed
from waybill.loading import AdapterContext, open_adapter
from waybill.message import DeadLetterRecord, Delivery, Message
from waybill.outcomes import Confirmed, DeadLetter, Defer, Done
from waybill.testing.broker import FaultyAdapter
from waybill.testing.faults import Faults
from waybill.testing.served import Handlers
from waybill.testing.story import Story, without_ours
from waybill.topic import Topic

if TYPE_CHECKING:
    from waybill.app import App
    from waybill.middleware import BatchHandler, Handler
    from waybill.observing import Handled
    from waybill.runtime import Runtime

__all__ = ["BusError", "DeadLettered", "TestBus", "open_test_bus", "opened"]

T = TypeVar("T")

STEP = 0.002
"""Seconds between two looks while `drain` waits."""
PATIENCE = 10.0
"""Seconds of real time after which it is given up."""

opened: WeakSet[TestBus] = WeakSet()
"""Those that a test may have failed on: the pytest plugin shows their stories."""


class BusError(AssertionError):
    """What the bus itself asserts did not hold. Its text ends with the story."""


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

    def __init__(self, app: App, clock: TestClock, *, raise_errors: bool) -> None:
        self._app = app
        self._raise_errors = raise_errors
        self._shown = 0
        self._dead: list[tuple[str, DeadLettered]] = []
        self._attempts: list[Handled] = []
        self._story = Story(clock, Handlers(app.registrations))
        self.clock = clock
        self.faults = Faults([registration.subscription for registration in app.registrations], self._story)
        """What goes wrong between the broker and the application: `bus.faults.duplicate(orders)` and others."""
        opened.add(self)

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

    async def drain(self, *, timeout: float = PATIENCE) -> None:  # noqa: ASYNC109 - a test wants to see what was left, not a bare TimeoutError
        """Run until every message of the application's subscriptions is handled, retried to its end or dead-lettered.

        Moves the clock to whatever is due next, as often as it takes. `timeout`: seconds of real time after which it
        raises `BusError` and says what was left.
        """
        __tracebackhide__ = True  # pytest: what is wrong is where it was called
        if self.faults.is_away:
            raise self._error("nothing can be drained while the broker is away: drain after the block of `away()`")
        end = asyncio.get_running_loop().time() + timeout
        while (due := await self._until_idle(end, timeout)) is not None:
            self.clock.advance(due)

    async def advance(self, duration: float | timedelta) -> None:
        """Let what is ready be handled, move the clock forward (seconds or timedelta), and let what became due be handled.

        While the broker is away nothing can be handled: the clock moves, and that is all.
        """
        __tracebackhide__ = True
        end = asyncio.get_running_loop().time() + PATIENCE
        if not self.faults.is_away:
            await self._until_idle(end, PATIENCE)
        self.clock.advance(duration.total_seconds() if isinstance(duration, timedelta) else duration)
        if not self.faults.is_away:
            await self._until_idle(end, PATIENCE)

    # ---------------------------------------------------------------- looking

    def published(self, topic: Topic[T]) -> list[T]:
        """The values that the broker has stored on `topic` so far, from the test or from handlers, in order."""
        return [topic.decode(message) for message in self.messages(topic)]

    def messages(self, topic: Topic[Any]) -> list[Message]:
        """Like `published`, but the messages with their ids, headers and keys."""
        return [message for name, message in self._story.published if name == topic.name]

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

    @property
    def errors(self) -> list[Exception]:
        """What handlers raised so far, in order, except `Reject` and `RetryAfter`, which are decisions."""
        return list(self._story.errors)

    @property
    def closed(self) -> bool:
        """Whether its block was left."""
        return self._story.over

    @property
    def name(self) -> str:
        """The application's."""
        return self._app.name

    def explain(self) -> str:
        """Everything that happened so far, message by message, what is left and why, and what handlers raised.

        For people: `print` it, or let the pytest plugin show it where a test fails. Messages are numbered as they come.
        """
        return str(self._story)

    # ---------------------------------------------------------------- inside

    async def _until_idle(self, end: float, patience: float) -> float | None:
        """Wait until nothing can be handled now; the seconds until the next is due."""
        __tracebackhide__ = True
        loop = asyncio.get_running_loop()
        while True:
            left, due = await self._look()
            self._raise_what_came()
            if not left and not self.faults.let_come():
                return due
            if loop.time() > end:
                raise self._error(f"not done after {patience:g} s of real time", *left, *self._story.left())
            await asyncio.sleep(STEP)

    async def _look(self) -> tuple[list[str], float | None]:
        """What can be handled now, for people, and the seconds until the next is due."""
        left, dues = list[str](), list[float]()
        admin = self._runtime.brokers.admin
        for consumer in self._runtime.consumers:
            in_flight = float(-self.faults.sources[consumer.subscription.name].kept)
            ready = 0.0
            for group in await admin.expand(consumer.subscription):
                backlog = await admin.backlog(group)
                ready += backlog.ready.value or 0
                in_flight += backlog.in_flight.value or 0
                if backlog.next_due.value is not None:
                    dues.append(backlog.next_due.value)
            if ready or in_flight:
                left.append(f"{consumer.subscription.name} has {ready:g} ready and {in_flight:g} in flight")
            elif consumer.settling:  # the broker knows, and has not said so yet
                left.append(f"{consumer.subscription.name} waits for what it has settled")
        return left, min(dues, default=None)

    def _raise_what_came(self) -> None:
        __tracebackhide__ = True
        broken, self.faults.broken = self.faults.broken, None
        if broken is not None:
            raise broken
        if self._raise_errors and len(self._story.errors) > self._shown:
            error = self._story.errors[self._shown]
            self._shown = len(self._story.errors)
            error.add_note("raised in a handler: app.test(raise_errors=True) stops at the first")
            raise error.with_traceback(without_ours(error.__traceback__))

    def _error(self, what: str, *details: str) -> BusError:
        lines = "".join(f"\n    {detail}" for detail in details)
        return BusError(f"{what}{':' if details else ''}{lines}\n\nSo far:\n{self.explain()}")

    def _check_the_end(self) -> None:
        __tracebackhide__ = True
        self._raise_what_came()
        if missed := self.faults.missed():
            what = "a fault was armed and has not happened (arm it before what it shall hit, or say required=False)"
            raise self._error(what, *map(str, missed))

    def _watch(self, handler: Handler) -> Handler:
        async def watched(delivery: Delivery[Any]) -> None:
            self._story.started(delivery)
            self.faults.started(delivery)
            try:
                await handler(delivery)
            except BaseException as error:
                self._story.ended(delivery, error)
                raise
            self._story.ended(delivery, None)

        return watched

    def _watch_batches(self, handler: BatchHandler) -> BatchHandler:
        async def watched(deliveries: Sequence[Delivery[Any]]) -> None:
            for delivery in deliveries:
                self._story.started(delivery)
                self.faults.started(delivery)
            errors: dict[int, BaseException] = {}
            try:
                await handler(deliveries)
            except ItemsFailed as error:
                errors = error.failures
                raise
            except BaseException as error:
                errors = dict.fromkeys(range(len(deliveries)), error)
                raise
            finally:
                for place, delivery in enumerate(deliveries):
                    self._story.ended(delivery, errors.get(place))

        return watched

    def _observe(self, handled: Handled) -> None:
        self._story.handled(handled)
        self.faults.ended(handled.delivery)
        self._attempts.append(handled)
        if isinstance(handled.settlement, DeadLetter) and isinstance(handled.result, Done):
            letter = DeadLettered(handled.delivery.message, handled.settlement.record)
            self._dead.append((handled.delivery.topic, letter))

    _runtime: Runtime


@asynccontextmanager
async def open_test_bus(app: App, *, raise_errors: bool = False) -> AsyncGenerator[TestBus, None]:
    """Run `app` on `memory://` for the length of the block. Serves `App.test`."""
    from waybill.settings import Settings  # noqa: PLC0415 - slow to import

    __tracebackhide__ = True  # pytest: what failed at the end is the test's own block
    clock = TestClock()
    bus = TestBus(app, clock, raise_errors=raise_errors)
    settings = Settings(url="memory://", shutdown_grace=1.0)
    inner = open_adapter("memory://", AdapterContext(application=app.name, clock=clock, options={}))
    adapter = FaultyAdapter(inner, clock, bus.faults, bus._story)
    async with app._open(
        Brokers({None: adapter}, everywhere=True),
        settings,
        clock,
        consume=True,
        around=(bus._watch,),
        around_batches=(bus._watch_batches,),
        observers=(bus._observe,),
        accept_unrouted=True,
        hurried=True,
    ) as runtime:
        bus._runtime = runtime
        try:
            yield bus
            bus._check_the_end()
        finally:
            bus._story.over = True
