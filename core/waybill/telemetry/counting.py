"""What one destination and one subscription add up to, and the ways in and out that see it happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any, TypeAlias

from waybill.adapter import Sink, Source
from waybill.errors import HandlerTimeout
from waybill.message import Delivery, Message
from waybill.observing import Handled
from waybill.outcomes import (
    Ack,
    Confirmed,
    DeadLetter,
    Defer,
    Lost,
    Refused,
    Release,
    SendResult,
    Settled,
    SettleResult,
    Unknown,
)
from waybill.telemetry import catalogue
from waybill.telemetry.around import SeenSource
from waybill.telemetry.catalogue import ANSWERS, OUTCOMES, REASONS
from waybill.telemetry.failing import ERRORS, GIVEN_BACK, cut_short, error_type
from waybill.telemetry.tally import Count, Metric, Reading, Series, Spread

__all__ = ["Consumption", "CountedSink", "CountedSource", "Place", "Sending", "Tallies"]

Place: TypeAlias = tuple[str, ...]
"""The values of `catalogue.PLACE`."""

ANSWER = dict(zip((Confirmed, Refused, Unknown), ANSWERS, strict=True))
OUTCOME = {Ack: "acked", Defer: "retried", Release: "released", DeadLetter: "dead_lettered"}


class Tallies:
    """All that is counted while messages are handled."""

    def __init__(
        self,
        *,
        spread: Callable[[Metric], Series[Spread]] = lambda metric: Series(metric, lambda _: Spread(metric.bounds)),
    ) -> None:
        """`spread`: where durations are kept."""

        def count(metric: Metric) -> Series[Count]:
            return Series(metric, lambda _: Count())

        self.sent = count(catalogue.SENT)
        self.consumed = count(catalogue.CONSUMED)
        self.operation = spread(catalogue.OPERATION)
        self.process = spread(catalogue.PROCESS)
        self.published = count(catalogue.PUBLISHED)
        self.delivered = count(catalogue.DELIVERED)
        self.redelivered = count(catalogue.REDELIVERED)
        self.settled = count(catalogue.SETTLED)
        self.dead_lettered = count(catalogue.DEAD_LETTERED)
        self.end_to_end = spread(catalogue.END_TO_END)
        self.lag: dict[tuple[str, ...], float] = {}
        """Of each destination and group."""

    def collect(self) -> Iterator[Reading]:
        received = (self.consumed, self.delivered, self.redelivered)
        for each in (self.sent, self.published, *received, self.settled, self.dead_lettered):
            yield Reading(each.metric, [(labels, count.value) for labels, count in each.items()])
        for spreads in (self.operation, self.process, self.end_to_end):
            yield Reading(spreads.metric, spreads.items())
        yield Reading(catalogue.LAG, list(self.lag.items()))


class Sending:
    """What is sent to one destination. All that can go well stands at zero from the beginning."""

    def __init__(self, tallies: Tallies, place: Place, topic: str | None) -> None:
        """`topic`: its name, unless the destination is one group's."""
        self._tallies = tallies
        self._labels = ("send", "send", *place)
        self._sent = tallies.sent.of(*self._labels, "")
        self._took = tallies.operation.of(*self._labels, "")
        self._topic = topic
        if topic is not None:
            self._published = {kind: tallies.published.of(topic, answer) for kind, answer in ANSWER.items()}

    def answered(self, results: Sequence[SendResult], took: float) -> None:
        if {type(result) for result in results} == {Confirmed}:
            self._took.add(took)
            self._sent.value += len(results)
            if self._topic is not None:
                self._published[Confirmed].value += len(results)
            return
        errors = ["" if isinstance(result, Confirmed) else error_type(ERRORS[type(result)]) for result in results]
        self._tallies.operation.of(*self._labels, next(filter(None, errors), "")).add(took)
        for result, error in zip(results, errors, strict=True):
            self._tallies.sent.of(*self._labels, error).value += 1
            if self._topic is not None:
                self._published[type(result)].value += 1

    def failed(self, number: int, error: BaseException, took: float) -> None:
        """Nobody knows then what was stored."""
        name = error_type(error)
        self._tallies.operation.of(*self._labels, name).add(took)
        self._tallies.sent.of(*self._labels, name).value += number
        if self._topic is not None:
            self._published[Unknown].value += number


class CountedSink:
    """A sink, and what is sent through it."""

    __slots__ = ("_inner", "_sending")

    def __init__(self, inner: Sink, sending: Sending) -> None:
        self._inner = inner
        self._sending = sending

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        began = perf_counter()
        try:
            results = await self._inner.send(messages, deadline=deadline)
        except BaseException as error:
            self._sending.failed(len(messages), error, perf_counter() - began)
            raise
        self._sending.answered(results, perf_counter() - began)
        return results


class CountedSource(SeenSource):
    """A source, and what is received and settled through it."""

    __slots__ = ("_clock", "_consumption")

    def __init__(self, inner: Source, consumption: Consumption, clock: Callable[[], float]) -> None:
        super().__init__(inner)
        self._consumption = consumption
        self._clock = clock

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await self.inner.receive(limit)
        if deliveries:
            self._consumption.delivered(deliveries, self._clock())
        return deliveries

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        began = perf_counter()
        try:
            results = await self.inner.settle(settled)
        except BaseException as error:
            self._consumption.settled(perf_counter() - began, error_type(error))
            raise
        self._consumption.settled(perf_counter() - began)
        return results


class Consumption:
    """What one subscription is handed out, and what becomes of it."""

    def __init__(self, tallies: Tallies, place: Place, name: tuple[str, str]) -> None:
        """`name`: destination and group, as declared."""
        self._tallies = tallies
        self._place = place
        self._name = name
        self._consumed = tallies.consumed.of("receive", "receive", *place, "")
        self._delivered = tallies.delivered.of(*self._name)
        self._redelivered = tallies.redelivered.of(*self._name)
        self.processed = tallies.process.of("process", "process", *place, "")
        self._took = tallies.operation.of("settle", "settle", *place, "")
        self._end_to_end = tallies.end_to_end.of(*self._name)
        self._settled = {kind: tallies.settled.of(*self._name, outcome) for kind, outcome in OUTCOME.items()}
        for outcome in OUTCOMES:
            tallies.settled.of(*self._name, outcome)
        for reason in REASONS:
            tallies.dead_lettered.of(*self._name, reason)

    def delivered(self, deliveries: Sequence[Delivery[Any]], now: float) -> None:
        """`now`: seconds since the epoch."""
        number = len(deliveries)
        self._consumed.value += number
        self._delivered.value += number
        again = [delivery for delivery in deliveries if delivery.redelivered]
        self._redelivered.value += len(again)
        published = deliveries[-1].message.time.timestamp()
        self._tallies.lag[self._name] = max(0.0, now - published)

    def settled(self, took: float, error: str = "") -> None:
        """One call to the broker has ended."""
        spread = self._tallies.operation.of("settle", "settle", *self._place, error) if error else self._took
        spread.add(took)

    def ended(self, handled: Handled, now: float) -> None:
        """`now`: seconds since the epoch."""
        settlement = handled.settlement
        if type(handled.result) is Lost:
            self._tallies.settled.of(*self._name, "lost").value += 1
            return
        self._settled[type(settlement)].value += 1
        if type(settlement) is Ack:
            self._end_to_end.add(max(0.0, now - handled.delivery.message.time.timestamp()))
        elif type(settlement) is DeadLetter:
            self._tallies.dead_lettered.of(*self._name, settlement.record.reason).value += 1

    def failed(self, error: BaseException, took: float, delivery: Delivery[Any]) -> None:
        """A handling did, after so many seconds. delivery: the first of its deliveries."""
        cause = cut_short(error, delivery)
        if cause in GIVEN_BACK:
            self.processed.add(took)
            return
        name = error_type(HandlerTimeout if cause == "timeout" else error)
        self._tallies.process.of("process", "process", *self._place, name).add(took)
