"""Wrong adapters for RabbitMQ, each sound but for one thing, and the promises that must notice it on the real broker.

python -m tests.contract.mutating runs them. Each is put in the place of what it varies, in a process of its own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

import waybill_rabbitmq
from tests.contract.mutant import Mutants
from waybill.adapter import Source, Stalled
from waybill.ids import new_id
from waybill.loading import AdapterContext
from waybill.message import DeadLetterRecord, Message
from waybill.outcomes import DONE, LOST, Confirmed, Refused, SendResult, Settled, SettleResult
from waybill.topology import Destination, Subscription, TopicSpec
from waybill_rabbitmq import RabbitMQAdapter, admin, feed, headers, ladder, names, sink
from waybill_rabbitmq.client import Channel
from waybill_rabbitmq.declaring import Hand
from waybill_rabbitmq.objects import Exchange
from waybill_rabbitmq.sink import RabbitSink
from waybill_rabbitmq.window import Window

__all__ = ["MUTANTS"]


MUTANTS = Mutants()
instead_of = MUTANTS.instead_of


# ---------------------------------------------------------------- dead letters


@instead_of(headers, "_death", "D10")
def says_nothing_of_what_the_broker_gave_up(
    headers: Mapping[str, Any], subscription: Subscription, message: Message
) -> DeadLetterRecord | None:
    """What the broker gave up itself is a dead letter without a record."""
    return None


_death = headers._death


@instead_of(headers, "_death", "D10")
def finds_it_anew_at_each_look(
    headers: Mapping[str, Any], subscription: Subscription, message: Message
) -> DeadLetterRecord | None:
    """What the broker gave up itself was given up just now, whenever somebody looks."""
    record = _death(headers, subscription, message)
    return record and msgspec.structs.replace(record, id=new_id(), at=datetime.now(UTC))


# ---------------------------------------------------------------- publishing


@instead_of(waybill_rabbitmq, "RabbitSink", "fault-29")
class AcknowledgesBeforeTheCopyIsConfirmed(RabbitSink):
    """A retry or a dead letter counts as placed as soon as it is written."""

    async def _put(self, channel: Channel, messages: Sequence[Any], lot: sink.Lot) -> None:
        await super()._put(channel, messages, lot)
        if self._destination.kind in {"retry", "dead"}:
            for place, message in enumerate(messages):
                lot.decide(place, Confirmed(message.id))


@instead_of(waybill_rabbitmq, "RabbitSink", "R08")
class RetriesByTheTopic(RabbitSink):
    """All groups of a topic share the exchange that retries come back by."""

    def __init__(self, line: Any, destination: Destination, clock: Any, **options: Any) -> None:
        super().__init__(line, destination, clock, **options)
        if destination.kind == "retry":
            self._exchange = names.exchange(destination.topic)
            self._address = names.address(self._exchange)


@instead_of(waybill_rabbitmq, "RabbitSink", "T07")
class DeclaresAnew(RabbitSink):
    """What is missing when a channel is opened is declared, as by connect_robust, whoever has removed it."""

    async def _open(self) -> Channel:
        async with Hand(self._line) as hand:
            await hand.make_exchange(Exchange(self._exchange))
        return await super()._open()


@instead_of(waybill_rabbitmq, "RabbitSink", "P14")
class TakesANackForAConfirm(RabbitSink):
    """What a full queue has refused is confirmed."""

    def _rejected(self) -> SendResult:
        return Confirmed("")


@instead_of(waybill_rabbitmq, "RabbitSink", "P05")
class ConfirmsOneOfMany(RabbitSink):
    """A confirm of all up to a number is taken for one of that number alone."""

    def _confirmed(self, pending: Any, returned: Any, tag: int, multiple: bool, stored: bool) -> None:
        super()._confirmed(pending, returned, tag, False, stored)


@instead_of(sink, "_lost", "fault-02", "fault-03")
def takes_a_cut_for_a_refusal(pending: dict[int, sink.Pending], error: BaseException | None) -> None:
    """What was written and not answered when the connection was cut counts as refused."""
    for found in pending.values():
        found.lot.decide(found.place, Refused(f"it was not sent: {error}"))
    pending.clear()


@instead_of(sink, "_returned", "P03")
def ignores_a_return(returned: dict[int, str], header: object, reason: str) -> None:
    """What comes back as unroutable, before it is confirmed, is not looked at."""


# ---------------------------------------------------------------- settling


@instead_of(feed, "Window", "A07")
class AcknowledgesPastWhatIsUnsettled(Window):
    """The last of those that are settled is acknowledged with all before it."""

    def acknowledge(self, tags: Collection[int]) -> list[tuple[int, bool]]:
        super().acknowledge(tags)
        return [(max(tags), True)]


@instead_of(waybill_rabbitmq, "RabbitMQAdapter", "A15")
class ForgetsLostAcknowledgements(RabbitMQAdapter):
    """An acknowledgement that the connection was lost before counts as given, and surely so."""

    def __init__(self, url: str, context: AdapterContext) -> None:
        super().__init__(url, context)
        self.claims = self.capabilities = msgspec.structs.replace(self.claims, acks_surely=True)

    @asynccontextmanager
    async def source(self, subscription: Subscription, **options: Any) -> AsyncGenerator[Source, None]:
        async with super().source(subscription, **options) as source:
            given = source.settle

            async def settle(settled: Sequence[Settled]) -> Sequence[SettleResult]:
                return [DONE if result is LOST else result for result in await given(settled)]

            source.settle = settle  # type: ignore[method-assign]
            yield source


@instead_of(feed.Feed, "share", "F03", "F09")
async def fetches_without_end(self: feed.Feed, prefetch: int) -> None:
    """A shared queue is fetched as fast as it comes, whatever is held already."""
    del prefetch
    await self.channel.basic_qos(prefetch_count=0)
    await self._consume(self._came)


# ---------------------------------------------------------------- what is told


@instead_of(admin.RabbitAdmin, "_ready", "V04")
async def counts_who_consumes_as_well(self: admin.RabbitAdmin, queue: str) -> int:
    """A consumer counts as a message that is ready."""
    async with Hand(self._line) as hand:
        found = await hand.queue(queue)
    return 0 if found is None else found.messages + found.consumers


# ---------------------------------------------------------------- names and delays


@instead_of(names, "inbox", "T08")
def parts_names_by_a_dot(topic: TopicSpec, group: str | None) -> str:
    """Topic and group are parted by what may be in both."""
    return f"{topic.name}.{group}"


@instead_of(names, "dead", "D06")
def shares_dead_letters(topic: TopicSpec, group: str | None) -> str:
    """All groups of a topic have one place for dead letters."""
    del group
    return f"{topic.name}/dead"


whole = ladder.route


@instead_of(ladder, "route", "S01")
def waits_on_one_step(seconds: float, address: str, partition: int) -> tuple[str, str]:
    """A delay is that of the highest step that fits into it."""
    units = max(1, int(seconds // ladder.UNIT))
    return whole(ladder.UNIT * (1 << (units.bit_length() - 1)), address, partition)


# ---------------------------------------------------------------- traces


written = headers.write


@instead_of(headers, "write", "V01")
def writes_no_state(message: Message, mark: int) -> bytes:
    """`traceparent` is written, and `tracestate` is not."""
    return written(msgspec.structs.replace(message, tracestate=None), mark)


@instead_of(headers, "write", "V05")
def writes_no_cause(message: Message, mark: int) -> bytes:
    """AMQP has a property for the correlation, and none for the causation."""
    return written(msgspec.structs.replace(message, causation_id=None), mark)


# ---------------------------------------------------------------- health


@instead_of(waybill_rabbitmq.source, "Resumed", "V03")
def says_not_that_it_is_over() -> Stalled:
    """That the broker is away is told, and that it is back is not."""
    return Stalled("it was away")
