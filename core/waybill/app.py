"""The application: what a service author holds. It names handlers, publishes, and runs."""

from __future__ import annotations

import asyncio
import inspect
import logging
import typing
from asyncio import Future
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, overload

import msgspec

from waybill.adapter import Adapter, Admin, Capabilities, Limits
from waybill.clock import Clock, SystemClock
from waybill.consumer import Consumer, ConsumerOptions, Handled, current_handling
from waybill.errors import (
    CapabilityError,
    ClosedError,
    ConfigurationError,
    DecodeError,
    EncodeError,
    PublishRefused,
    PublishUnknown,
)
from waybill.headers import check_headers, is_text, size
from waybill.ids import derived_id, new_id
from waybill.loading import AdapterContext, open_adapter
from waybill.message import NO_HEADERS, Delivery, Message, Outgoing
from waybill.middleware import Handler, Middleware, Send, SendMiddleware, compose
from waybill.outcomes import Confirmed, Refused, SendResult, Unknown
from waybill.producer import Producer
from waybill.retry import Retry, seconds
from waybill.topic import Topic, check_name
from waybill.topology import Destination, Subscription, Topology

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from waybill.settings import Settings
    from waybill.testing import TestBus

__all__ = ["App", "Registration"]

log = logging.getLogger("waybill.app")

IN_CHAIN = 1000
"""Messages of one `publish_many` that are in the send-middleware at once."""

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


class Registration:
    """One handler and how its subscription is consumed."""

    __slots__ = ("handler", "options", "subscription", "takes_delivery", "topic")

    def __init__(
        self, topic: Topic[Any], subscription: Subscription, options: ConsumerOptions, handler: Callable[..., Any]
    ) -> None:
        self.topic = topic
        self.subscription = subscription
        self.options = options
        self.handler = handler
        self.takes_delivery = _takes_delivery(handler, topic)

    def pipeline(self, middleware: Sequence[Middleware]) -> Handler:
        """The middleware around decoding and the handler, folded once."""
        handler = self.handler

        async def with_delivery(delivery: Delivery[Any]) -> None:
            await handler(delivery.value, delivery)

        async def with_value(delivery: Delivery[Any]) -> None:
            await handler(delivery.value)

        innermost: Handler = with_delivery if self.takes_delivery else with_value
        return compose(middleware, innermost)

    def decoder(self) -> Callable[[Message], Any]:
        codec = self.topic.codec
        decode, content_type = codec.decode, codec.content_type

        def checked(message: Message) -> Any:
            if message.body is None:
                raise DecodeError("a tombstone: its key's value is gone")
            given = message.content_type
            if given is not None and given != content_type:
                _check_content_type(given, content_type)
            return decode(message.body)

        return checked


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
        self._middleware = tuple(middleware)
        self._send_middleware = tuple(send_middleware)
        self._registrations: list[Registration] = []
        self._observers: list[Callable[[Handled], None]] = []
        self._runtime: _Runtime | None = None
        self._open_already = False

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
    ) -> _Consume[T]:
        """Register a handler for every message that `group` gets of `topic`.

        The handler takes the value, and the `Delivery` as well if it has a second parameter. It returns: acknowledged.
        It raises: tried again as `retry` says, then dead-lettered. It raises `Reject`: dead-lettered now; `RetryAfter`:
        tried again later.

        group: default, the application's name. concurrency: handlers at once. ordered: messages of one key one after
        another, in publishing order. retry: default `Retry.exponential(5, first=1.0, cap=60.0)`. timeout: how long one
        handling may take (seconds or timedelta); `None` for no end. window, window_bytes: how much is held at once,
        started or not.

        Raises `ConfigurationError` for what cannot work.
        """
        if not isinstance(topic, Topic):
            raise ConfigurationError(f"consume({topic!r}): give the Topic object, not its name or type")
        if ordered and topic.key is None:
            raise ConfigurationError(
                f"{topic.name} is consumed ordered, but has no key to order by: Topic({topic.name!r}, …, key=lambda value: value.…)"
            )
        subscription = Subscription(
            topic=topic.spec, group=check_name(self.name if group is None else group, "group"), ordered=ordered
        )
        options = ConsumerOptions(
            concurrency=concurrency,
            window=window,
            window_bytes=window_bytes,
            timeout=None if timeout is None else seconds(timeout, "timeout"),
            retry=Retry.exponential() if retry is None else retry,
        )

        def register(handler: Callable[..., Any]) -> Any:
            for other in self._registrations:
                if other.subscription.name == subscription.name:
                    raise ConfigurationError(
                        f"{subscription.name} has a handler already ({_name(other.handler)}): one handler a group; "
                        f"give {_name(handler)} a group of its own to let both see every message"
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
        runtime: _Runtime,
        topic: Topic[T],
        value: T,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        delay: Duration | None = None,
        expires: Duration | None = None,
    ) -> Message:
        body = topic.codec.encode(value)
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
        log.info("%s: on %s", self.name, safe_url(url))
        async with self._open(url, settings, SystemClock(), consume=consume):
            yield self

    @asynccontextmanager
    async def admin(self) -> AsyncGenerator[Admin, None]:
        """The broker's administration (topology, backlogs, dead letters), connected, without publishing or consuming.

        Raises `ConfigurationError`, `BrokerError`.
        """
        from waybill.settings import broker_url, load  # noqa: PLC0415 - pydantic-settings is slow to import

        settings = self.settings or load()
        async with self._adapter(broker_url(settings), settings, SystemClock()) as adapter:
            yield adapter.admin

    def run(self) -> None:
        """Consume until SIGTERM or SIGINT, then shut down in order; a second signal leaves at once. Blocks."""
        from waybill.serving import serve  # noqa: PLC0415 - signals are of no use to an embedded application

        asyncio.run(serve(self))

    @asynccontextmanager
    async def lifespan(self, _application: object = None) -> AsyncGenerator[None, None]:
        """For FastAPI and Starlette: `FastAPI(lifespan=app.lifespan)`."""
        async with self.running():
            yield

    def test(self) -> AbstractAsyncContextManager[TestBus]:
        """Run on the embedded broker, in memory, with a clock the test owns. See `waybill.testing`."""
        from waybill.testing import open_test_bus  # noqa: PLC0415 - production need not load it

        return open_test_bus(self)

    @asynccontextmanager
    async def _open(
        self,
        url: str,
        settings: Settings,
        clock: Clock,
        *,
        consume: bool,
        send_middleware: Sequence[SendMiddleware] | None = None,
        observers: Sequence[Callable[[Handled], None]] = (),
    ) -> AsyncGenerator[_Runtime, None]:
        if self._open_already:
            raise ConfigurationError(f"application {self.name!r} is running already: one `running()` at a time")
        self._open_already = True
        try:
            adapter = self._adapter(url, settings, clock)
            async with self._runtime_on(
                adapter, settings, clock, consume=consume, send_middleware=send_middleware, observers=observers
            ) as runtime:
                yield runtime
        finally:
            self._open_already = False

    @asynccontextmanager
    async def _runtime_on(
        self,
        adapter: Adapter,
        settings: Settings,
        clock: Clock,
        *,
        consume: bool,
        send_middleware: Sequence[SendMiddleware] | None,
        observers: Sequence[Callable[[Handled], None]],
    ) -> AsyncGenerator[_Runtime, None]:
        self._check(adapter.claims)
        async with adapter:
            self._check(adapter.capabilities)
            runtime = _Runtime(
                self,
                adapter,
                settings,
                clock,
                send_middleware=self._send_middleware if send_middleware is None else send_middleware,
                observers=(*self._observers, *observers),
            )
            await runtime.declare(self.topology)
            self._runtime = runtime
            try:
                if consume:
                    await runtime.start()
                yield runtime
            finally:
                try:
                    await runtime.stop()
                finally:
                    self._runtime = None

    def _adapter(self, url: str, settings: Settings, clock: Clock) -> Adapter:
        return open_adapter(url, AdapterContext(application=self.name, clock=clock, options=settings.broker))

    def _running(self) -> _Runtime:
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
        if gaps:
            raise CapabilityError("; ".join(gaps))


class _Port:
    """One topic's way out: the send-middleware around its producer."""

    __slots__ = ("_chain", "_limits", "_producer", "_slots", "_topic")

    def __init__(self, producer: Producer, topic: str, middleware: Sequence[SendMiddleware], limits: Limits) -> None:
        self._producer = producer
        self._topic = topic
        self._limits = limits
        self._slots = asyncio.Semaphore(IN_CHAIN)
        innermost: Send = self._innermost
        self._chain = compose(middleware, innermost) if middleware else None

    async def publish(self, message: Message, deadline: float) -> Confirmed:
        if self._chain is not None:
            return await self._chain(Outgoing(topic=self._topic, message=message, deadline=deadline))
        return await self._send(message, deadline)

    async def submit(self, message: Message, deadline: float) -> Future[SendResult]:
        """Like `publish`, but gives the outcome as a future and never raises for the message."""
        if self._chain is None:
            if (refused := self._beyond(message)) is not None:
                return _resolved(refused)
            return await self._producer.submit(message, deadline=deadline)
        await self._slots.acquire()
        sending = asyncio.ensure_future(self._as_result(message, deadline))
        sending.add_done_callback(lambda _: self._slots.release())
        return sending

    async def _as_result(self, message: Message, deadline: float) -> SendResult:
        try:
            return await self.publish(message, deadline)
        except PublishRefused as error:
            return Refused(str(error))
        except PublishUnknown as error:
            return Unknown(str(error))

    async def _innermost(self, outgoing: Outgoing) -> Confirmed:
        return await self._send(outgoing.message, outgoing.deadline)

    async def _send(self, message: Message, deadline: float) -> Confirmed:
        if (refused := self._beyond(message)) is not None:
            raise self._producer.error(message, refused)
        return await self._producer.send(message, deadline=deadline)

    def _beyond(self, message: Message) -> Refused | None:
        """What the destination cannot carry is refused before anything is sent."""
        limits = self._limits
        if message.body is not None and len(message.body) > limits.body_bytes:
            return Refused(
                f"the body has {len(message.body)} bytes, this broker carries {limits.body_bytes}: send a reference instead"
            )
        if message.headers and size(message.headers) > limits.header_bytes:
            return Refused(f"the headers have {size(message.headers)} bytes, this broker carries {limits.header_bytes}")
        if message.due is not None and limits.delay is not None:
            delay = (message.due - message.time).total_seconds()
            if delay > limits.delay:
                return Refused(f"a delay of {delay:g} s: this broker delays at most {limits.delay:g} s")
        return None


class _Runtime:
    """An application while it runs."""

    def __init__(
        self,
        app: App,
        adapter: Adapter,
        settings: Settings,
        clock: Clock,
        *,
        send_middleware: Sequence[SendMiddleware],
        observers: Sequence[Callable[[Handled], None]],
    ) -> None:
        self._app = app
        self._send_middleware = send_middleware
        self._observers = observers
        self.adapter = adapter
        self.settings = settings
        self.clock = clock
        self.consumers: list[Consumer] = []
        self._producers: dict[str, Producer] = {}
        self._ports: dict[str, _Port] = {}
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._loop = asyncio.get_running_loop()

    def deadline(self, given: Duration | None) -> float:
        return self._loop.time() + (self.settings.publish_deadline if given is None else seconds(given, "deadline"))

    async def declare(self, topology: Topology) -> None:
        if self.settings.topology == "assume":
            return
        plan = await self.adapter.admin.plan(topology)
        if not plan.changes:
            return
        if self.settings.topology == "create" and all(change.action == "create" for change in plan.changes):
            await self.adapter.admin.apply(plan)
            return
        listed = "; ".join(f"{change.action} {change.what} {change.detail}".strip() for change in plan.changes)
        raise ConfigurationError(f"the broker lacks what the application needs: {listed}. Run: waybill topology apply")

    async def start(self) -> None:
        for registration in self._app.registrations:
            consumer = Consumer(
                self.adapter,
                msgspec.structs.replace(registration.subscription, lease=self.settings.lease),
                registration.pipeline(self._app._middleware),
                registration.decoder(),
                registration.options,
                clock=self.clock,
                observers=self._observers,
            )
            await consumer.start()
            self.consumers.append(consumer)

    async def stop(self) -> None:
        grace = self.settings.shutdown_grace
        end = self._loop.time() + grace
        async with self._stack:
            ended = await asyncio.gather(*(consumer.stop(grace) for consumer in self.consumers), return_exceptions=True)
            left = max(1.0, end - self._loop.time())
            await asyncio.gather(*(producer.close(left) for producer in self._producers.values()))
        for error in ended:
            if isinstance(error, BaseException):
                raise error

    def ready(self, topic: Topic[Any]) -> _Port | None:
        """The topic's way out, if it is open already."""
        if not isinstance(topic, Topic):
            raise ConfigurationError(f"publish({topic!r}, …): give the Topic object, not its name")
        return self._ports.get(topic.name)

    async def port(self, topic: Topic[Any]) -> _Port:
        return self.ready(topic) or await self._open_port(topic)

    async def _open_port(self, topic: Topic[Any]) -> _Port:
        async with self._opening:
            if topic.name not in self._ports:
                await self.declare(Topology((topic.spec,), tuple(topic.subscriptions())))
                destination = Destination("topic", topic.spec)
                sink = await self._stack.enter_async_context(self.adapter.sink(destination))
                producer = Producer(
                    sink,
                    topic=topic.name,
                    buffer=self.settings.publish_buffer,
                    sends_in_order=self.adapter.capabilities.sends_in_order,
                )
                self._producers[topic.name] = producer
                self._ports[topic.name] = _Port(
                    producer, topic.name, self._send_middleware, self.adapter.limits(destination)
                )
            return self._ports[topic.name]


def _resolved(result: SendResult) -> Future[SendResult]:
    future: Future[SendResult] = asyncio.get_running_loop().create_future()
    future.set_result(result)
    return future


def _check_content_type(given: str, expected: str) -> None:
    plain = given.partition(";")[0].strip().lower()
    if plain != expected and not (expected == "application/json" and plain.endswith("+json")):
        raise DecodeError(f"unsupported content type {given[:80]!r}: this topic carries {expected}")


def _name(handler: Callable[..., Any]) -> str:
    return getattr(handler, "__qualname__", repr(handler))


def _takes_delivery(handler: Callable[..., Any], topic: Topic[Any]) -> bool:
    """Whether the handler wants the delivery too. Raises `ConfigurationError` if it cannot be called for this topic."""
    if not callable(handler):
        raise ConfigurationError(f"{handler!r} is no function, so it cannot handle {topic.name}")
    called = handler if inspect.isroutine(handler) else type(handler).__call__
    if not inspect.iscoroutinefunction(inspect.unwrap(called)) and not inspect.iscoroutinefunction(handler):
        raise ConfigurationError(f"{_name(handler)} handles {topic.name} and must be `async def`")
    parameters = [
        p
        for p in inspect.signature(handler).parameters.values()
        if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD} and p.default is p.empty
    ]
    needed = [
        p.name
        for p in inspect.signature(handler).parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.default is p.empty
    ]
    if needed:
        raise ConfigurationError(f"{_name(handler)} needs {', '.join(needed)} by keyword, which nobody gives it")
    if len(parameters) not in {1, 2}:
        raise ConfigurationError(
            f"{_name(handler)} takes {len(parameters)} arguments: a handler takes the value, and the Delivery if it wants it"
        )
    try:
        hint = typing.get_type_hints(handler).get(parameters[0].name)
    except (NameError, TypeError):
        hint = None  # names that exist for type checkers only: they have checked it
    payload = topic.payload
    if type(hint) is type and type(payload) is type and not issubclass(payload, hint):
        raise ConfigurationError(f"{_name(handler)} takes {hint.__name__}, but {topic.name} carries {payload.__name__}")
    return len(parameters) == 2
