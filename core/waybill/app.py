"""The application: what a service author holds. It names handlers, publishes, and runs."""

from __future__ import annotations

import asyncio
import inspect
import logging
from asyncio import Future
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar, overload

from waybill.adapter import Adapter, Admin, Capabilities
from waybill.clock import Clock, SystemClock
from waybill.consumer import Consumer, Handled, current_handling
from waybill.errors import (
    CapabilityError,
    ClosedError,
    ConfigurationError,
    EncodeError,
)
from waybill.explaining import Explained, explain
from waybill.headers import check_headers, is_text
from waybill.ids import derived_id, new_id
from waybill.loading import AdapterContext, open_adapter
from waybill.message import NO_HEADERS, Delivery, Message
from waybill.middleware import Middleware, SendMiddleware
from waybill.options import ConsumerOptions
from waybill.outcomes import Confirmed, Refused, SendResult
from waybill.registration import Registration, name_of
from waybill.retry import Retry, seconds
from waybill.runtime import Runtime
from waybill.sync import SyncApp
from waybill.topic import Topic, check_name
from waybill.topology import Subscription, Topology

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from waybill.settings import Settings
    from waybill.testing import TestBus

__all__ = ["App"]

log = logging.getLogger("waybill.app")

T = TypeVar("T")
Duration: TypeAlias = float | timedelta


class _Consume(Protocol[T]):
    """What `App.consume` gives: a decorator for a handler of `T`, with or without the delivery."""

    @overload
    def __call__(
        self, handler: Callable[[T], Coroutine[Any, Any, None]], /
    ) -> Callable[[T], Coroutine[Any, Any, None]]: ...
    @overload
    def __call__(
        self, handler: Callable[[T, Delivery[T]], Coroutine[Any, Any, None]], /
    ) -> Callable[[T, Delivery[T]], Coroutine[Any, Any, None]]: ...
    @overload
    def __call__(self, handler: Callable[[T], None], /) -> Callable[[T], None]: ...
    @overload
    def __call__(self, handler: Callable[[T, Delivery[T]], None], /) -> Callable[[T, Delivery[T]], None]: ...


class App:
    """A service: its handlers, its middleware and its settings. `name` is also the default group of its handlers.

    `settings`: instead of those read from the environment and `waybill.toml` when it starts.
    `middleware`: functions from handler to handler, the first outermost. `send_middleware`: the same on the way out.
    """

    def __init__(
        self,
        name: str,
        *,
        settings: Settings | None = None,
        middleware: Sequence[Middleware] = (),
        send_middleware: Sequence[SendMiddleware] = (),
    ) -> None:
        self.name = check_name(name, "application")
        self.settings = settings
        for wrap in (*middleware, *send_middleware):
            if not callable(wrap) or inspect.iscoroutinefunction(wrap):
                raise ConfigurationError(
                    f"{wrap!r} is no middleware: that is a plain function that takes the next step and returns its own"
                )
        self._middleware = tuple(middleware)
        self._send_middleware = tuple(send_middleware)
        self._registrations: list[Registration] = []
        self._observers: list[Callable[[Handled], None]] = []
        self._runtime: Runtime | None = None
        self._open_already = False
        self.sync = SyncApp(self)
        """Publishing from code that is not asynchronous. See `waybill.sync`."""

    # ---------------------------------------------------------------- declaring

    def consume(
        self,
        topic: Topic[T],
        *,
        group: str | None = None,
        concurrency: int = 10,
        ordered: bool = False,
        retry: Retry | None = None,
        timeout: Duration | None = 60.0,
        window: int | None = None,
        window_bytes: int = 64 << 20,
        on_failure: Literal["block-key", "relax"] | None = None,
    ) -> _Consume[T]:
        """Register a handler for every message that `group` gets of `topic`.

        The handler takes the value, and the `Delivery` as well if it has a second parameter. It returns: acknowledged.
        It raises: tried again as `retry` says, then dead-lettered. It raises `Reject`: dead-lettered now; `RetryAfter`:
        tried again later.

        group: default, the application's name. The first group of a topic starts with what was published before it, a later
        one with what comes. concurrency: handlers at once. ordered: messages of one key one after
        another, in publishing order. retry: default `Retry.exponential(5, first=1.0, cap=60.0)`. timeout: how long one
        handling may take (seconds or timedelta); `None` for no end. window, window_bytes: how much is held at once,
        started or not. on_failure: what an ordered key does while a failed message waits for its retry: `block-key` (the
        default) waits with it, `relax` goes on, and the message comes back with `Delivery.out_of_order`.

        A plain function is run in a thread, counted in the same concurrency; it cannot be cancelled.

        Raises `ConfigurationError` for what cannot work.
        """
        if not isinstance(topic, Topic):
            hint = (
                "write @app.consume(topic)"
                if inspect.isroutine(topic)
                else "give the Topic object, not its name or type"
            )
            raise ConfigurationError(f"consume({topic!r}): {hint}")
        if ordered and topic.key is None:
            raise ConfigurationError(
                f"{topic.name} is consumed ordered, but has no key to order by: Topic({topic.name!r}, …, key=lambda value: value.…)"
            )
        if on_failure == "block-key" and not ordered:
            raise ConfigurationError(f"{topic.name}: on_failure='block-key' makes a key wait, which needs ordered=True")
        subscription = Subscription(
            topic=topic.spec, group=check_name(self.name if group is None else group, "group"), ordered=ordered
        )
        options = ConsumerOptions(
            concurrency=concurrency,
            window=window,
            window_bytes=window_bytes,
            timeout=None if timeout is None else seconds(timeout, "timeout"),
            retry=Retry.exponential() if retry is None else retry,
            on_failure=on_failure,
        )

        def register(handler: Callable[..., Any]) -> Any:
            for other in self._registrations:
                if other.subscription.name == subscription.name:
                    raise ConfigurationError(
                        f"{subscription.name} has a handler already ({other.name}): one handler a group; "
                        f"give {name_of(handler)} a group of its own to let both see every message"
                    )
            self._registrations.append(Registration(topic, subscription, options, handler))
            return handler

        return register

    def observe(self, observer: Callable[[Handled], None]) -> None:
        """Call `observer` with each handling that has ended, once the broker answered. It must be quick and not raise."""
        self._observers.append(observer)

    @property
    def registrations(self) -> Sequence[Registration]:
        """The handlers, in the order they were registered."""
        return tuple(self._registrations)

    def consumer(self, topic: Topic[Any], *, group: str | None = None) -> Consumer:
        """The running consumer of `topic` for `group` (default: the application's name), to pause, resume and resize.

        Raises `ClosedError` when the application does not run, `ConfigurationError` when it has no such handler.
        """
        name = f"{topic.name}/{self.name if group is None else group}"
        for consumer in self._running().consumers:
            if consumer.subscription.name == name:
                return consumer
        raise ConfigurationError(f"application {self.name!r} has no handler for {name}")

    def explain(self) -> list[Explained]:
        """What will become of the messages of each handler, in words; without connecting. Raises `ConfigurationError`."""
        from waybill.settings import broker_url, load  # noqa: PLC0415 - pydantic-settings is slow to import

        settings = self.settings or load()
        can = self._adapter(broker_url(settings), settings, SystemClock()).claims
        self._check(can)
        return explain(self._registrations, can, lease=settings.lease)

    @property
    def topology(self) -> Topology:
        """Every topic and group this application's code names."""
        subscriptions = {r.subscription.name: r.subscription for r in self._registrations}
        for registration in self._registrations:
            for declared in registration.topic.subscriptions():
                subscriptions.setdefault(declared.name, declared)
        topics = dict.fromkeys(registration.topic.spec for registration in self._registrations)
        return Topology(tuple(topics), tuple(subscriptions.values()))

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
    ) -> Confirmed:
        """Publish `value`; returns when the broker has it in its durable store.

        key: instead of the topic's own. delay: not delivered before (seconds or timedelta). expires: not handled after
        (seconds or timedelta from now); dead-lettered then. deadline: give up after (default: the settings').

        Inside a handler the message's id follows from the incoming message, so that a second attempt publishes the same
        ids. Raises `PublishRefused` (certainly not stored), `PublishUnknown` (may be stored), `EncodeError`,
        `ConfigurationError` (headers) or `ClosedError`.
        """
        runtime = self._running()
        port = runtime.ready(topic) or await runtime.port(topic)
        message = self._message(runtime, topic, value, key=key, headers=headers, delay=delay, expires=expires)
        return await port.publish(message, runtime.deadline(deadline))

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
        port = await runtime.port(topic)
        end = runtime.deadline(deadline)
        waiting: list[Future[SendResult] | SendResult] = []
        for value in values:
            try:
                message = self._message(runtime, topic, value, headers=headers)
            except EncodeError as error:
                waiting.append(Refused(str(error)))
            else:
                waiting.append(await port.submit(message, end))
        return [await result if isinstance(result, Future) else result for result in waiting]

    def _message(
        self,
        runtime: Runtime,
        topic: Topic[T],
        value: T,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        delay: Duration | None = None,
        expires: Duration | None = None,
    ) -> Message:
        try:
            body = topic.codec.encode(value)
        except EncodeError as error:
            raise EncodeError(f"{topic.name}: {error}") from error
        if key is None and topic.key is not None:
            try:
                key = topic.key(value)
            except Exception as error:
                raise EncodeError(f"{topic.name}: its key function failed: {error!r}") from error
        if key is not None and (not isinstance(key, str) or not key or not is_text(key)):
            raise EncodeError(f"{topic.name}: the key must be a text of at least one character, not {key!r}")
        now = runtime.clock.time()
        handling = current_handling.get()
        if handling is None:
            identity, correlation, causation, cause = new_id(), None, None, None
        else:
            cause = handling.delivery.message
            ordinal = handling.ordinal(topic.name)
            identity = derived_id(f"{self.name}/{handling.delivery.group}/{cause.id}/{topic.name}/{ordinal}")
            correlation, causation = cause.correlation_id or cause.id, cause.id
        return Message(
            id=identity,
            body=body,
            type=topic.name,
            source=self.name,
            time=datetime.fromtimestamp(now, UTC),
            key=key,
            headers=check_headers(headers) if headers else NO_HEADERS,
            content_type=topic.codec.content_type,
            correlation_id=correlation,
            causation_id=causation,
            expires=None if expires is None else datetime.fromtimestamp(now + seconds(expires, "expires"), UTC),
            traceparent=None if cause is None else cause.traceparent,
            tracestate=None if cause is None else cause.tracestate,
            due=None if not delay else datetime.fromtimestamp(now + seconds(delay, "delay"), UTC),
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
        async with self._open(url, settings, SystemClock(), consume=consume):
            yield self

    @asynccontextmanager
    async def admin(self) -> AsyncGenerator[Admin, None]:
        """The broker's administration (topology, backlogs, dead letters), connected, without publishing or consuming.

        Raises `ConfigurationError`, `BrokerError`.
        """
        async with self.connected() as adapter:
            yield adapter.admin

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[Adapter, None]:
        """The broker itself, connected, for tools such as `waybill.redrive`; nothing is declared, published or consumed.

        Raises `ConfigurationError`, `BrokerError`.
        """
        from waybill.settings import broker_url, load  # noqa: PLC0415 - pydantic-settings is slow to import

        settings = self.settings or load()
        async with self._adapter(broker_url(settings), settings, SystemClock()) as adapter:
            yield adapter

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
        url: str,
        settings: Settings,
        clock: Clock,
        *,
        consume: bool,
        wrap: Callable[[Adapter], Adapter] | None = None,
        middleware: Sequence[Middleware] | None = None,
        observers: Sequence[Callable[[Handled], None]] = (),
    ) -> AsyncGenerator[Runtime, None]:
        if self._open_already:
            raise ConfigurationError(f"application {self.name!r} is running already: one `running()` at a time")
        self._open_already = True
        try:
            adapter = self._adapter(url, settings, clock)
            if wrap is not None:
                adapter = wrap(adapter)
            self._check(adapter.claims)
            async with adapter:
                self._check(adapter.capabilities)
                runtime = Runtime(adapter, settings, clock, send_middleware=self._send_middleware)
                await runtime.declare(self.topology)
                self._runtime = runtime
                try:
                    if consume:
                        middleware = self._middleware if middleware is None else middleware
                        await runtime.start(self._registrations, middleware, (*self._observers, *observers))
                    yield runtime
                finally:
                    await runtime.stop()
        finally:
            self._runtime = None
            self._open_already = False

    def _adapter(self, url: str, settings: Settings, clock: Clock) -> Adapter:
        return open_adapter(url, AdapterContext(application=self.name, clock=clock, options=settings.broker))

    def _running(self) -> Runtime:
        if self._runtime is None:
            raise ClosedError(
                f"application {self.name!r} is not running: publish inside `async with app.running():`, or in a handler"
            )
        return self._runtime

    def _check(self, can: Capabilities) -> None:
        gaps = [
            f"{r.subscription.name} is consumed ordered, and {can.broker} keeps no order over several members: drop ordered=True"
            for r in self._registrations
            if r.subscription.ordered and not can.ordered
        ]
        gaps += [
            f"{r.subscription.name}: {can.broker} cannot let a key go on without its failed message: use on_failure='block-key'"
            for r in self._registrations
            if r.subscription.ordered and r.options.relaxed and not can.relaxes
        ]
        if gaps:
            raise CapabilityError("; ".join(gaps))
