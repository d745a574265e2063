"""Metrics, counted by the application itself.

    app = App("billing", instruments=[Metrics()])

Those with `messaging.` in their names are OpenTelemetry's (semantic conventions 1.44), with the buckets advised there; those
with `waybill.` are ours, since no convention has them. `waybill.telemetry.catalogue` lists all.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from waybill.adapter import Adapter, Sink, Source
from waybill.instruments import Instrument
from waybill.message import Delivery
from waybill.middleware import BatchMiddleware, Middleware
from waybill.observing import Handled
from waybill.telemetry.around import seen
from waybill.telemetry.catalogue import PLACE
from waybill.telemetry.conventions import declared, place_of
from waybill.telemetry.counting import Consumption, CountedSink, CountedSource, Place, Sending, Tallies
from waybill.telemetry.looking import looked
from waybill.telemetry.tally import Reading
from waybill.topology import Destination, Subscription

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

    from waybill.app import App

__all__ = ["Metrics"]

T = TypeVar("T", Delivery[Any], Sequence[Delivery[Any]])


class Metrics(Instrument):
    """Counts what an application sends, receives, handles and settles. Read by `collect`, or through a meter."""

    def __init__(self, *, meter: Meter | None = None) -> None:
        """`meter`: OpenTelemetry's, which then has the same metrics; its own histograms make a message cost 20 µs more."""
        self._tallies = Tallies()
        self._consumptions: dict[tuple[str, str | None], Consumption] = {}
        self._by_holder: dict[object, Consumption] = {}
        self._passing: set[tuple[str, str | None]] = set()
        """The ephemeral groups, by the names that they have in this process only."""
        self._app: App | None = None
        if meter is not None:
            from waybill.telemetry.meter import measured  # noqa: PLC0415 - needs an extra

            self._tallies = measured(meter, self.collect)

    @classmethod
    def bystander(cls, app: App) -> Metrics:
        """One that counts nothing and reads what `app` knows anyway."""
        found = cls()
        found._app = app
        return found

    def collect(self) -> Iterator[Reading]:
        """All metrics and their values now. May be called in any thread."""
        yield from self._tallies.collect()
        if self._app is not None:
            yield from looked(self._app)

    # ---------------------------------------------------------------- as an instrument

    def around(self, adapter: Adapter) -> Adapter:
        def sink(inner: Sink, to: Destination) -> Sink:
            known = declared(to, passing=(to.name, to.topic.broker) in self._passing)
            return CountedSink(inner, self._sending(adapter, known))

        def source(inner: Source, subscription: Subscription) -> Source:
            known = declared(subscription)
            if known is not subscription:
                self._passing.add(_key(subscription))
            name = known.topic.name, known.group
            made = Consumption(self._tallies, _described(adapter, known), name)
            return CountedSource(inner, self._consumptions.setdefault(_key(subscription), made), time.time)

        return seen(adapter, sink=sink, source=source)

    def _sending(self, adapter: Adapter, to: Destination) -> Sending:
        return Sending(self._tallies, _described(adapter, to), to.topic.name if to.kind == "topic" else None)

    def middleware(self, subscription: Subscription) -> Middleware:
        return lambda handler: self._timed(subscription, handler)

    def batch_middleware(self, subscription: Subscription) -> BatchMiddleware:
        return lambda handler: self._timed(subscription, handler)

    def _timed(
        self, subscription: Subscription, handler: Callable[[T], Awaitable[None]]
    ) -> Callable[[T], Awaitable[None]]:
        """The source is opened after this is made, and before the first handling."""
        place = _key(subscription)

        async def handle(given: T) -> None:
            began = perf_counter()
            try:
                await handler(given)
            except BaseException as error:
                first = given if isinstance(given, Delivery) else given[0]
                self._consumptions[place].failed(error, perf_counter() - began, first)
                raise
            self._consumptions[place].processed.add(perf_counter() - began)

        return handle

    @property
    def on_handled(self) -> bool:
        return True

    def handled(self, handled: Handled) -> None:
        holder: Any = handled.delivery._holder
        found = self._by_holder.get(holder)
        if found is None:
            found = self._by_holder[holder] = self._consumptions[_key(holder.subscription)]
        found.ended(handled, time.time())

    def started(self, app: App) -> None:
        self._app = app
        assert app._runtime is not None  # noqa: S101 - it has started
        for topic in app.topology.topics:
            self._sending(app._runtime.brokers.of(topic), Destination("topic", topic))

    def stopped(self) -> None:
        self._app = None
        self._by_holder.clear()


def _described(adapter: Adapter, place: Destination | Subscription) -> Place:
    """What the conventions say of it."""
    told = place_of(adapter, place)
    return tuple(str(told.get(name, "")) for name in PLACE)


def _key(subscription: Subscription) -> tuple[str, str | None]:
    return subscription.name, subscription.topic.broker
