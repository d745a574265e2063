"""An application while it runs: its adapter, its producers, its consumers."""

from __future__ import annotations

import asyncio
import logging
import os
from asyncio import Future
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from contextvars import copy_context
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import msgspec

from waybill.adapter import Capabilities, Limits, capabilities_of
from waybill.brokers import Brokers
from waybill.clock import Clock
from waybill.consumer import Consumer
from waybill.deadletters import Origin
from waybill.entrance import Entrance
from waybill.errors import (
    BrokerUnavailable,
    CapabilityError,
    ClosedError,
    ConfigurationError,
    PublishRefused,
    PublishUnknown,
    TopologyMismatch,
)
from waybill.explaining import timeline, weaker
from waybill.headers import size
from waybill.health import Health, judge, watch
from waybill.ids import new_id
from waybill.instruments import Instrument
from waybill.message import Message, Outgoing
from waybill.middleware import BatchMiddleware, Middleware, Send, SendMiddleware, compose
from waybill.observing import Handled
from waybill.outcomes import Confirmed, Refused, SendResult, Unknown
from waybill.producer import Producer
from waybill.registration import Registration
from waybill.retry import seconds
from waybill.settling import back_off
from waybill.sharing import Shared
from waybill.topic import Topic
from waybill.topology import Destination, Subscription, Topology

if TYPE_CHECKING:
    from waybill.settings import Settings

__all__ = ["Port", "Runtime", "Stage"]

log = logging.getLogger("waybill.runtime")

M = TypeVar("M")
Stage: TypeAlias = Literal["starting", "running", "stopping"]

STOPPING = "the application is stopping, nothing more can be published"
IN_CHAIN = 1000
"""Messages of one `publish_many` that are in the send-middleware at once."""


class Port:
    """One topic's way out: the send-middleware around its producer."""

    __slots__ = ("_broker", "_can", "_chain", "_limits", "_producer", "_slots", "_topic")

    def __init__(
        self,
        producer: Producer,
        topic: str,
        middleware: Sequence[SendMiddleware],
        limits: Limits,
        can: Capabilities,
        *,
        broker: str | None = None,
    ) -> None:
        self._producer = producer
        self._broker = broker
        self._topic = topic
        self._can = can
        self._limits = limits
        self._slots = asyncio.Semaphore(IN_CHAIN)
        innermost: Send = self._innermost
        self._chain = compose(middleware, innermost) if middleware else None

    def publish(self, message: Message, deadline: float, *, many: bool = False) -> Awaitable[Confirmed]:
        """To be awaited at once. Raises before anything is sent: `PublishRefused` for what the destination cannot carry,
        `CapabilityError` for what the broker cannot do."""
        if self._chain is not None:
            return self._chain(
                Outgoing(topic=self._topic, message=message, deadline=deadline, broker=self._broker, many=many)
            )
        return self._send(message, deadline)

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
            return await self.publish(message, deadline, many=True)
        except (PublishRefused, CapabilityError) as error:
            return Refused(str(error))
        except PublishUnknown as error:
            return Unknown(str(error))

    async def _innermost(self, outgoing: Outgoing) -> Confirmed:
        return await self._send(outgoing.message, outgoing.deadline)

    def _send(self, message: Message, deadline: float) -> Awaitable[Confirmed]:
        if message.due is not None and not self._can.delays:
            broker = self._can.broker
            raise CapabilityError(
                f"{self._topic}: {broker} delivers nothing later: drop delay, or publish when it is time"
            )
        if (refused := self._beyond(message)) is not None:
            raise self._producer.error(message, refused)
        return self._producer.send(message, deadline=deadline)

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


class Runtime:
    """An application while it runs."""

    def __init__(
        self,
        brokers: Brokers,
        settings: Settings,
        clock: Clock,
        *,
        send_middleware: Sequence[SendMiddleware],
        accept_unrouted: bool = False,
        name: str = "",
        hurried: bool = False,
    ) -> None:
        """`name`: the application's. `accept_unrouted`: for every topic, as in a test, where the groups of other services are
        not there. `hurried`: without rate limits and retry budgets, as in a test, whose clock moves by itself.
        """
        self._send_middleware = send_middleware
        self._accept_unrouted = accept_unrouted
        self._hurried = hurried
        self._name = name
        self.brokers = brokers
        self.settings = settings
        self.clock = clock
        self.consumers: list[Consumer] = []
        self._by_name: dict[str, Consumer] = {}
        self._producers: list[Producer] = []
        self._entrances: dict[tuple[str, str | None], Entrance[Port]] = {}
        self._shut = False
        """Whether no way out is opened any more."""
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()
        self.loop = asyncio.get_running_loop()
        self._context = copy_context()
        self.process = os.getpid()
        self._watching: asyncio.Task[None] | None = None
        self.stage: Stage = "starting"

    def deadline(self, given: float | timedelta | None) -> float:
        return self.loop.time() + (self.settings.publish_deadline if given is None else seconds(given, "deadline"))

    async def declare(self, topology: Topology) -> None:
        if self.settings.topology == "assume":
            return
        plan = await self.brokers.admin.plan(topology)
        if not plan.changes:
            return
        if self.settings.topology == "create" and all(change.action == "create" for change in plan.changes):
            await self.brokers.admin.apply(plan)
            return
        listed = "; ".join(f"{change.action} {change.what} {change.detail}".strip() for change in plan.changes)
        raise TopologyMismatch(
            f"what the broker has is not what the application needs: {listed}. `waybill topology apply` makes what is missing; "
            f"what differs it changes where --allow names it, e.g. --allow {plan.changes[0].what!r}"
        )

    async def start(
        self,
        registrations: Sequence[Registration],
        middleware: Sequence[Middleware],
        batch_middleware: Sequence[BatchMiddleware],
        observers: Sequence[Callable[[Handled], None]],
        instruments: Sequence[Instrument] = (),
    ) -> None:
        """Start a consumer for each of the handlers' subscriptions."""
        shared: dict[object, Shared] = {}
        for registration in registrations:
            options, subscription = registration.options, self._subscription(registration)
            if self._hurried:
                options = replace(options, limit=None, budget=None)
            consumer = Consumer(
                self.brokers.of(registration.subscription.topic),
                subscription,
                registration.pipeline((*_seen(each.middleware(subscription) for each in instruments), *middleware))
                if options.batch is None
                else registration.batch_pipeline(
                    (*_seen(each.batch_middleware(subscription) for each in instruments), *batch_middleware)
                ),
                registration.topic.decode,
                options,
                clock=self.clock,
                remote=registration.topic.remote is not None,
                observers=observers,
                shared=shared.setdefault(registration.shared, Shared(options, self.clock)),
                origin=self._origin(registration),
            )
            await consumer.start()
            self.consumers.append(consumer)
            self._by_name[registration.subscription.name] = consumer
            log.info("%s: %s; a message that fails: %s", consumer, registration.name, timeline(options.retry))
            for what, how in weaker(self.brokers.of(registration.subscription.topic), subscription):
                log.info("%s: %s: %s", consumer, what, how)
        watching = watch(self.consumers, self.brokers.admin, self.settings.stall_after)
        self._watching = self.loop.create_task(watching, name="waybill-health")

    def consumer(self, name: str) -> Consumer | None:
        """The consumer of the subscription that was registered under this name (`topic/group`)."""
        return self._by_name.get(name)

    def health(self) -> Health:
        return judge(self.consumers, self._producers)

    def _origin(self, registration: Registration) -> Origin:
        marked = frozenset(self.settings.redact)
        return Origin(service=self._name, version=self.settings.version, handler=registration.name, marked=marked)

    def _subscription(self, registration: Registration) -> Subscription:
        """As it is at run time: with the lease of the settings, and a name of its own where it is ephemeral."""
        subscription = msgspec.structs.replace(registration.subscription, lease=self.settings.lease)
        if not subscription.ephemeral:
            return subscription
        return msgspec.structs.replace(subscription, group=f"{subscription.group}.{new_id()[-12:]}")

    async def stop(self) -> None:
        self.stage = "stopping"
        grace = self.settings.shutdown_grace
        end = self.loop.time() + grace
        if self._watching is not None:
            self._watching.cancel()
        async with self._stack:
            try:
                stops = [consumer.stop(grace) for consumer in self.consumers]
                ended = await asyncio.gather(*stops, return_exceptions=True)
            finally:  # not before: handlers that still run may publish
                self._shut = True
                await asyncio.gather(*(entrance.close(ClosedError(STOPPING)) for entrance in self._entrances.values()))
            left = max(1.0, end - self.loop.time())
            await asyncio.gather(*(producer.close(left) for producer in self._producers))
        for error in ended:
            if isinstance(error, BaseException):
                raise error

    def ready(self, topic: Topic[Any]) -> Port | None:
        """The topic's way out, if it is open already."""
        if not isinstance(topic, Topic):
            raise ConfigurationError(f"publish({topic!r}, …): give the Topic object, not its name or a pattern")
        entrance = self._entrances.get(_place(topic))
        return None if entrance is None else entrance.open

    async def port(self, topic: Topic[Any], deadline: float) -> Port:
        """The topic's way out, opened at the first need of it. Raises `BrokerError` where it cannot be by the deadline, `ClosedError`
        where the application stops before."""
        failures = 0
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    return self.ready(topic) or await self._enter(topic)
            except TimeoutError as error:
                raise BrokerUnavailable("the broker does not answer in time") from error
            except BrokerUnavailable:
                failures += 1
                pause = back_off(failures)
                if self.loop.time() + pause >= deadline:
                    raise
            await asyncio.sleep(pause)

    async def _enter(self, topic: Topic[Any]) -> Port:
        place = _place(topic)
        if self._shut:
            raise ClosedError(STOPPING)
        if (entrance := self._entrances.get(place)) is None:
            entrance = self._entrances[place] = Entrance(lambda: self._opened(topic), self._context)
        return await entrance.enter()

    async def _opened(self, topic: Topic[Any]) -> Port:
        async with self._opening:  # one topic after another
            await self.declare(Topology((topic.spec,), tuple(topic.subscriptions())))
            spec = msgspec.structs.replace(topic.spec, accept_unrouted=True) if self._accept_unrouted else topic.spec
            adapter, destination = self.brokers.of(spec), Destination("topic", spec)
            sink = await self._stack.enter_async_context(adapter.sink(destination))
            can = capabilities_of(adapter, spec)
            producer = Producer(
                sink,
                topic=topic.name,
                buffer=self.settings.publish_buffer,
                sends_in_order=can.sends_in_order,
            )
            self._producers.append(producer)
            return Port(
                producer, topic.name, self._send_middleware, adapter.limits(destination), can, broker=spec.broker
            )


def _place(topic: Topic[Any]) -> tuple[str, str | None]:
    """Two brokers may each have a topic of the same name."""
    return topic.name, topic.spec.broker


def _seen(middleware: Iterable[M | None]) -> list[M]:
    return [each for each in middleware if each is not None]


def _resolved(result: SendResult) -> Future[SendResult]:
    future: Future[SendResult] = asyncio.get_running_loop().create_future()
    future.set_result(result)
    return future
