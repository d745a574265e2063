"""The application: what a service author holds. It names handlers, publishes, and runs."""

from __future__ import annotations

import asyncio
import inspect
import logging
from asyncio import Future
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from waybill.adapter import Admin
from waybill.asking import Lines, check_codecs, close_codecs
from waybill.brokers import Brokers
from waybill.classifying import NONE, ErrorTable, Kinds
from waybill.clock import Clock, SystemClock
from waybill.codec import Lacking
from waybill.composing import Duration, message_of
from waybill.consumer import Consumer
from waybill.decorators import Consume, ConsumeBatch
from waybill.errors import BrokerError, BrokerUnavailable, ClosedError, ConfigurationError, EncodeError, PublishRefused
from waybill.explaining import Explained, explain
from waybill.gaps import check_gaps
from waybill.gates import CircuitBreaker
from waybill.health import Health, Status
from waybill.history import Stretch
from waybill.instruments import Instrument
from waybill.loading import AdapterContext, check_tables, open_adapter
from waybill.message import Delivery, Message
from waybill.middleware import BatchMiddleware, Middleware, SendMiddleware
from waybill.observing import Handled
from waybill.options import Batch, ConsumeOptions
from waybill.outcomes import Confirmed, Refused, SendResult
from waybill.registration import Registration, breakers_of, check_gates, check_groups, name_of, registrar
from waybill.replaying import Replayed, replay
from waybill.retry import Retry
from waybill.runtime import Runtime
from waybill.sync import SyncApp
from waybill.topic import Readable, Topic, check_name
from waybill.topology import Topology

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from waybill.settings import Settings
    from waybill.testing import TestBus

__all__ = ["App"]

log = logging.getLogger("waybill.app")

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")


class App:
    """A service: its handlers, its middleware and its settings. `name` is also the default group of its handlers.

    `settings`: instead of those read from the environment and `waybill.toml` when it starts.
    `topics`: those that it publishes to, so that they are declared when it starts and by `waybill topology`; else they are
    when it first publishes to them.
    `middleware`: functions from handler to handler, the first outermost. `send_middleware`: the same on the way out.
    `batch_middleware`: the same around handlers of batches, which `middleware` does not touch: so an application that has
    both must say which (or an empty list).
    `instruments`: what sees its messages and decides nothing, e.g. `waybill.telemetry.tracing.Tracing()`.
    `errors`: what exception classes say of a message, for all handlers: `{BankDown: "systemic"}`. See `waybill.classifying`.
    """

    def __init__(
        self,
        name: str,
        *,
        settings: Settings | None = None,
        topics: Sequence[Topic[Any]] = (),
        middleware: Sequence[Middleware] = (),
        batch_middleware: Sequence[BatchMiddleware] | None = None,
        send_middleware: Sequence[SendMiddleware] = (),
        instruments: Sequence[Instrument] = (),
        errors: ErrorTable = NONE,
    ) -> None:
        self.name = check_name(name, "application")
        self.settings = settings
        for wrap in (*middleware, *(batch_middleware or ()), *send_middleware):
            if not callable(wrap) or inspect.iscoroutinefunction(wrap):
                raise ConfigurationError(
                    f"{wrap!r} is no middleware: that is a plain function that takes the next step and returns its own"
                )
        self._middleware = tuple(middleware)
        self._batch_middleware = None if batch_middleware is None else tuple(batch_middleware)
        self._send_middleware = tuple(send_middleware)
        for instrument in instruments:
            if not isinstance(instrument, Instrument):
                raise ConfigurationError(f"App(instruments=[{instrument!r}, …]): give objects of Instrument's classes")
        self._instruments = tuple(instruments)
        for topic in topics:
            if not isinstance(topic, Topic):
                raise ConfigurationError(f"App(topics=[{topic!r}, …]): give Topic objects")
        self._topics = tuple(topics)
        Kinds(application=errors)  # raises for what is no such table
        self._errors = errors
        self._registrations: list[Registration] = []
        self._observers: list[Callable[[Handled], None]] = []
        self._runtime: Runtime | None = None
        self._open_already = False
        self._further: dict[int, Readable[Any]] = {}
        self._lines = Lines()
        self.sync = SyncApp(self)
        """Publishing from code that is not asynchronous. See `waybill.sync`."""

    # ---------------------------------------------------------------- declaring

    @overload
    def consume(self, topic: Readable[T], /, **options: Unpack[ConsumeOptions]) -> Consume[T]: ...
    @overload
    def consume(
        self, topic: Readable[T], second: Readable[U], /, **options: Unpack[ConsumeOptions]
    ) -> Consume[T | U]: ...
    @overload
    def consume(
        self, topic: Readable[T], second: Readable[U], third: Readable[V], /, **options: Unpack[ConsumeOptions]
    ) -> Consume[T | U | V]: ...
    @overload
    def consume(
        self, topic: Readable[T], /, *, batch: int | Batch, **options: Unpack[ConsumeOptions]
    ) -> ConsumeBatch[T]: ...

    def consume(
        self, *topics: Readable[Any], batch: int | Batch | None = None, **options: Unpack[ConsumeOptions]
    ) -> Any:
        """Register a handler for every message that its group gets of the topic.

        The handler takes the value, and the `Delivery` as well if it has a second parameter. It returns: acknowledged.
        It raises: tried again as `retry` says, then dead-lettered. It raises `Reject`: dead-lettered now; `RetryAfter`:
        tried again later. A plain function is run in a thread, counted in the same concurrency; it cannot be cancelled.

        One handler may serve several topics, which share its concurrency; `Delivery.topic` says which. A `TopicPattern`
        stands for all topics that fit. With `batch`, the handler takes a list of values (and a list of their deliveries):
        `ItemsFailed` says which of them failed; if it raises anything else all have, and are tried again one by one. In an
        ordered subscription a batch holds one message of a key at most.

        The options are those of `ConsumeOptions`. Raises `ConfigurationError` for what cannot work.
        """

        if self._runtime is not None:
            raise ConfigurationError(f"application {self.name!r} runs already: register handlers before it starts")
        register = registrar(self.name, topics, batch, options, self._errors)

        def decorate(handler: Callable[..., Any]) -> Any:
            made = register(handler)
            if batch is not None and self._middleware and self._batch_middleware is None:
                raise ConfigurationError(
                    f"{name_of(handler)} takes batches, which App(middleware=…) does not touch: give batch_middleware=[…], "
                    f"or an empty list"
                )
            check_groups(made, self._registrations)
            check_gates([*self._registrations, *made])
            self._registrations += made
            return handler

        return decorate

    def observe(self, observer: Callable[[Handled], None]) -> None:
        """Call `observer` with each handling that has ended, once the broker answered. It must be quick and not raise."""
        self._observers.append(observer)

    @property
    def registrations(self) -> Sequence[Registration]:
        """The handlers, in the order they were registered."""
        return tuple(self._registrations)

    @property
    def instruments(self) -> Sequence[Instrument]:
        """What sees its messages, the first outermost."""
        return self._instruments

    @property
    def breakers(self) -> Mapping[str, CircuitBreaker]:
        """The circuit breakers of its handlers, by name: to see them, and to open and close them by hand."""
        return breakers_of(self._registrations)

    def consumer(self, topic: Readable[Any], *, group: str | None = None) -> Consumer:
        """The running consumer of `topic` for `group` (default: the application's name), to pause, resume and resize.

        Raises `ClosedError` when the application does not run, `ConfigurationError` when it has no such handler.
        """
        name = f"{topic.name}/{self.name if group is None else group}"
        consumer = self._running().consumer(name)
        if consumer is None:
            raise ConfigurationError(f"application {self.name!r} has no handler for {name}")
        return consumer

    def health(self) -> Health:
        """How it is, from its progress: per subscription and per topic published to, with the reasons. Costs nothing.

        For a readiness probe: `app.health().ready`. An application that does not run is down.
        """
        return self._runtime.health() if self._runtime is not None else Health(Status.DOWN, ())

    def calls(self) -> Mapping[str, int]:
        """Calls made since it started, by their kind (`SendMessageBatch`), of brokers that are paid by the call; else none.

        For a counter among your metrics, labelled by kind: costs nothing, and begins anew when the application does.
        """
        return self._runtime.brokers.called() if self._runtime is not None else {}

    def explain(self) -> list[Explained]:
        """What will become of the messages of each handler, in words; without connecting. Raises `ConfigurationError`."""
        from waybill.settings import broker_url, load  # noqa: PLC0415 - pydantic-settings is slow to import

        settings = self.settings or load()
        brokers = self._brokers(broker_url(settings), settings, SystemClock())
        self._check(brokers, connected=False)
        return explain(self._registrations, brokers, lease=settings.lease)

    @property
    def _known(self) -> list[Readable[Any]]:
        """The topics that its code names when it starts."""
        return [*(registration.topic for registration in self._registrations), *self._topics]

    @property
    def topology(self) -> Topology:
        """Every topic and group this application's code names, but those groups that live as long as their consumer."""
        registrations = self._registrations
        subscriptions = {r.subscription.name: r.subscription for r in registrations if not r.subscription.ephemeral}
        named = self._known
        for topic in named:
            if isinstance(topic, Topic):
                for declared in topic.subscriptions():
                    subscriptions.setdefault(declared.name, declared)
        topics = dict.fromkeys(topic.spec for topic in named)
        return Topology([topic for topic in topics if not topic.pattern], tuple(subscriptions.values()))

    # ---------------------------------------------------------------- publishing

    async def publish(
        self,
        topic: Topic[T],
        value: T,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        delay: Duration | None = None,
        expires: Duration | None = None,
        deadline: Duration | None = None,
        cause: Delivery[Any] | None = None,
    ) -> Confirmed:
        """Publish `value`; returns when the broker has it in its durable store.

        key: instead of the topic's own. delay: not delivered before (seconds or timedelta). expires: not handled after
        (seconds or timedelta from now); dead-lettered then. deadline: give up after (default: the settings'). cause: which
        of a batch's deliveries this follows from.

        Inside a handler the message's id follows from the incoming message, so that a second attempt publishes the same
        ids; in a handler of batches, from `cause`, and without it every message gets a new one. Raises `PublishRefused` (certainly not stored), `PublishUnknown` (may be stored), `EncodeError`,
        `ConfigurationError` (headers), `CapabilityError` (a delay, where the broker has none) or `ClosedError`.
        """
        runtime = self._running()
        port = runtime.ready(topic)
        now, end = runtime.clock.time(), runtime.deadline(deadline)

        def compose() -> Message:
            return message_of(
                self.name, topic, value, now=now, key=key, headers=headers, delay=delay, expires=expires, cause=cause
            )

        message = compose() if topic.remote is None else await self._composed(topic, compose, end)
        if port is None:
            try:
                port = await runtime.port(topic, end)
            except BrokerError as error:
                text = f"{topic.name}: message {message.id} was not stored: {error}"
                raise PublishRefused(text, topic=topic.name, message_id=message.id) from error
        return await port.publish(message, end)

    async def publish_many(
        self,
        topic: Topic[T],
        values: Iterable[T],
        *,
        headers: Mapping[str, str] | None = None,
        deadline: Duration | None = None,
    ) -> list[SendResult]:
        """Publish all of `values`; one result each, in order, and one failure does not fail the rest.

        The order of values with one key is kept. Raises only `ClosedError` and `ConfigurationError`. A value that cannot be
        encoded is `Refused`.
        """
        runtime = self._running()
        end = runtime.deadline(deadline)
        try:
            port = await runtime.port(topic, end)
        except BrokerError as error:
            return [Refused(str(error), transient=isinstance(error, BrokerUnavailable)) for _ in values]
        waiting: list[Future[SendResult] | SendResult] = []
        for value in values:
            now = runtime.clock.time()
            try:
                if topic.remote is None:
                    message = message_of(self.name, topic, value, now=now, headers=headers)
                else:
                    compose = partial(message_of, self.name, topic, value, now=now, headers=headers)
                    message = await self._composed(topic, compose, end)
            except (EncodeError, PublishRefused) as error:
                waiting.append(Refused(str(error), transient=isinstance(error, PublishRefused)))
            else:
                waiting.append(await port.submit(message, end))
        return [await result if isinstance(result, Future) else result for result in waiting]

    # ---------------------------------------------------------------- history

    async def replay(
        self,
        topic: Readable[Any],
        stretch: Stretch,
        *,
        group: str | None = None,
        to: Callable[..., Any] | None = None,
        wanted: Callable[[Message], bool] = lambda _: True,
        rate: float | None = None,
        limit: int | None = None,
        on_progress: Callable[[Replayed], None] = lambda _: None,
    ) -> Replayed:
        """Handle a stretch of what `topic` has kept once more, in this process, with `Delivery.replayed` set.

        It goes to the handler of `group` (default: the application's name), with the middleware and the retries that it
        has, or to the handler `to`, a shadow that is nobody's, once and in the order of keys. The deliveries belong to a
        throwaway group: no living one is touched, and what fails is counted and logged, never dead-lettered.

        wanted: which of them. rate: messages per second at most. limit: so many at most. on_progress: told what has become
        of them so far. The application runs; `running(consume=False)` will do. Cancelled, it lets handlers end in order.

        Raises `CapabilityError` where the broker cannot, `ConfigurationError`, `ClosedError`, `BrokerError`.
        """
        runtime, group = self._running(), self.name if group is None else group
        self._asks_for(topic)
        known = {registration.subscription.name: registration for registration in self._registrations}
        if to is not None:
            ordered = isinstance(topic, Topic) and topic.key is not None
            (registration,) = registrar(
                self.name, (topic,), None, {"group": group, "ordered": ordered, "retry": Retry.none()}
            )(to)
        elif (found := known.get(f"{topic.name}/{group}")) is not None:
            registration = found
        else:
            raise ConfigurationError(
                f"application {self.name!r} has no handler for {topic.name}/{group}: name another group, or give `to`"
            )
        return await replay(
            runtime.brokers.of(registration.subscription.topic),
            registration,
            registration.pipeline(self._middleware)
            if registration.options.batch is None
            else registration.batch_pipeline(self._batch_middleware or ()),
            stretch,
            clock=runtime.clock,
            grace=runtime.settings.shutdown_grace,
            wanted=wanted,
            rate=rate,
            limit=limit,
            on_progress=on_progress,
        )

    # ---------------------------------------------------------------- running

    @asynccontextmanager
    async def running(self, *, consume: bool = True) -> AsyncGenerator[App, None]:
        """Connect, declare what is missing, consume until the block is left; then shut down in order.

        `consume=False`: publish only. Raises `ConfigurationError`, `CapabilityError`, `BrokerError`.
        """
        from waybill.settings import broker_url, load, safe_url  # noqa: PLC0415 - pydantic-settings is slow to import

        settings = self.settings or load()
        url = broker_url(settings)
        if settings.url or settings.dev:
            log.info("%s: on %s", self.name, safe_url(url))
        else:  # nobody should wonder where the messages are
            log.warning("%s: no broker is configured: using %s in %s", self.name, url, Path.cwd())
        clock = SystemClock()
        async with self._open(self._brokers(url, settings, clock), settings, clock, consume=consume):
            yield self

    @asynccontextmanager
    async def admin(self, *, create: bool = True) -> AsyncGenerator[Admin, None]:
        """The broker's administration (topology, backlogs, dead letters), connected, without publishing or consuming.

        create: as of `brokers`. Raises `ConfigurationError`, `BrokerError`.
        """
        async with self.connected(create=create) as brokers:
            yield brokers.admin

    def brokers(self, *, create: bool = True) -> Brokers:
        """The brokers that the settings name, not connected. Raises `ConfigurationError`.

        create: whether connecting may make a broker that is a file and is not there.
        """
        from waybill.settings import broker_url, load  # noqa: PLC0415 - pydantic-settings is slow to import

        settings = self.settings or load()
        return self._brokers(broker_url(settings), settings, SystemClock(), create=create)

    @asynccontextmanager
    async def connected(self, *, create: bool = True) -> AsyncGenerator[Brokers, None]:
        """The brokers, connected, for tools such as `waybill.redrive`, whose work the instruments see; nothing is declared,
        published or consumed.

        create: as of `brokers`. Raises `ConfigurationError`, `BrokerError`.
        """
        from waybill.settings import load  # noqa: PLC0415 - pydantic-settings is slow to import

        settings = self.settings or load()
        for instrument in self._instruments:
            instrument.configured(settings)
        async with self._seen(self.brokers(create=create)).connected() as brokers:
            yield brokers

    def run(self) -> None:
        """Consume until SIGTERM or SIGINT, then shut down in order; a second signal leaves at once. Blocks."""
        from waybill.serving import serve  # noqa: PLC0415 - signals are of no use to an embedded application

        asyncio.run(serve(self))

    @asynccontextmanager
    async def lifespan(self, _application: object = None) -> AsyncGenerator[None, None]:
        """For FastAPI and Starlette: `FastAPI(lifespan=app.lifespan)`."""
        async with self.running():
            yield

    def test(self, *, raise_errors: bool = False) -> AbstractAsyncContextManager[TestBus]:
        """Run on the embedded broker, in memory, with a clock the test owns. See `waybill.testing`.

        raise_errors: `drain`, `advance` and the end of the block raise what a handler raised, instead of trying again.
        """
        from waybill.testing import open_test_bus  # noqa: PLC0415 - production need not load it

        return open_test_bus(self, raise_errors=raise_errors)

    @asynccontextmanager
    async def _open(
        self,
        brokers: Brokers,
        settings: Settings,
        clock: Clock,
        *,
        consume: bool,
        around: Sequence[Middleware] = (),
        around_batches: Sequence[BatchMiddleware] = (),
        observers: Sequence[Callable[[Handled], None]] = (),
        accept_unrouted: bool = False,
        hurried: bool = False,
    ) -> AsyncGenerator[Runtime, None]:
        if self._open_already:
            raise ConfigurationError(f"application {self.name!r} is running already: one `running()` at a time")
        self._open_already = True
        for instrument in self._instruments:
            instrument.configured(settings)
        brokers = self._seen(brokers)
        try:
            self._check(brokers, connected=False)
            async with brokers.connected():
                self._check(brokers, connected=True)
                await check_codecs(self._known)
                runtime = Runtime(
                    brokers,
                    settings,
                    clock,
                    send_middleware=(
                        *(wrap for each in self._instruments if (wrap := each.send_middleware()) is not None),
                        *self._send_middleware,
                    ),
                    accept_unrouted=accept_unrouted,
                    name=self.name,
                    hurried=hurried,
                )
                await runtime.declare(self.topology)
                self._runtime = runtime
                try:
                    if consume:
                        await runtime.start(
                            self._registrations,
                            (*around, *self._middleware),
                            (*around_batches, *(self._batch_middleware or ())),
                            (
                                *(each.handled for each in self._instruments if each.on_handled),
                                *self._observers,
                                *observers,
                            ),
                            self._instruments,
                        )
                    for instrument in self._instruments:
                        instrument.started(self)
                    runtime.stage = "running"
                    yield runtime
                finally:
                    await runtime.stop()
                    for instrument in self._instruments:
                        instrument.stopped()
        finally:
            self._runtime = None
            try:
                await close_codecs([*self._known, *self._further.values()])
            finally:
                self._further.clear()
                self._open_already = False

    def _brokers(self, url: str, settings: Settings, clock: Clock, *, create: bool = True) -> Brokers:
        context = AdapterContext(application=self.name, clock=clock, options=settings.broker, create=create)
        check_tables(settings.broker)
        named = {name: open_adapter(where, context) for name, where in settings.brokers.items()}
        return Brokers({None: open_adapter(url, context)} | named)

    def _seen(self, brokers: Brokers) -> Brokers:
        """The same, as the instruments see what they send and receive."""
        for instrument in reversed(self._instruments):
            brokers = brokers.each(instrument.around)
        return brokers

    async def _composed(self, topic: Topic[Any], compose: Callable[[], Message], end: float) -> Message:
        """A message whose codec may lack something. Who composes one while others wait goes behind them, or keys lost order."""
        try:
            message = compose()
        except Lacking:
            self._asks_for(topic)
            return await self._lines.turn(topic, compose, end)
        return await self._lines.turn(topic, lambda: message, end) if self._lines.waits(topic) else message

    def _asks_for(self, topic: Readable[Any]) -> None:
        """Its codec may have connections from now on, whether the code named the topic before or not."""
        if topic.remote is not None:
            self._further[id(topic.remote)] = topic

    def _running(self) -> Runtime:
        if self._runtime is None:
            raise ClosedError(
                f"application {self.name!r} is not running: publish inside `async with app.running():`, or in a handler"
            )
        return self._runtime

    def _check(self, brokers: Brokers, *, connected: bool) -> None:
        check_gaps(brokers, self.topology, self._registrations, connected=connected)
