"""Ways in: a topic, one group's inbox or waiting room, one group's dead letters."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from waybill.addressing import partition_of
from waybill.clock import Clock
from waybill.errors import BrokerError, BrokerUnavailable, DestinationMissing, missing, unrouted
from waybill.foreign import said
from waybill.lots import Lot
from waybill.message import Message
from waybill.outcomes import Confirmed, Refused, SendResult, Unknown
from waybill.topology import Destination
from waybill_rabbitmq import headers, ladder, names, wire
from waybill_rabbitmq.client import Channel, RawHeader
from waybill_rabbitmq.line import Line
from waybill_rabbitmq.mapping import mapped
from waybill_rabbitmq.options import partitions_of

__all__ = ["RabbitSink"]

MARGIN = 0.05
"""Seconds before the deadline at which the answer is given up, so that ours comes in time."""


class Pending(msgspec.Struct, eq=False, gc=False):
    """A publish without an answer."""

    lot: Lot
    place: int
    ident: str


class RabbitSink:
    """One destination on a channel of its own: what breaks it breaks no other's."""

    def __init__(self, line: Line, destination: Destination, clock: Clock, *, alone: Callable[[], bool]) -> None:
        """`alone`: whether no more than one group shares the topic, as far as this process knows."""
        self._line = line
        self._destination = destination
        self._clock = clock
        self._alone = alone
        spec = destination.topic
        inbox = names.inbox(spec, destination.group)
        places = {
            "topic": names.exchange(spec),
            "group": inbox,
            "retry": inbox,
            "dead": names.dead(spec, destination.group),
        }
        self._exchange = places[destination.kind]
        self._address = names.address(self._exchange)
        self._partitions = partitions_of(spec)
        self._mandatory = not (destination.kind == "topic" and spec.accept_unrouted)
        self._channel: Channel | None = None
        self._opening = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._pending: dict[int, Pending] = {}
        self._returned: dict[int, str] = {}

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        try:
            async with asyncio.timeout_at(deadline - MARGIN):
                channel = await self._ready()
        except TimeoutError:
            return [Refused(f"the broker cannot be reached: {self._trouble}", transient=True)] * len(messages)
        except BrokerError as error:
            return [Refused(str(error))] * len(messages)
        lot = Lot(len(messages))
        putting = asyncio.ensure_future(self._put(channel, messages, lot))
        try:
            async with asyncio.timeout_at(deadline - MARGIN):
                await asyncio.shield(putting)
                if lot.left:
                    await lot.done
        except (TimeoutError, BrokerError) as error:
            if not lot.begun:
                putting.cancel()
                return [Refused("the broker takes nothing now", transient=True)] * len(messages)
            self._give_up(lot, str(error) or self._silence())
        except asyncio.CancelledError:
            self._give_up(lot, "the application stopped before the answer came")
            raise
        return lot.answers

    async def _put(self, channel: Channel, messages: Sequence[Message], lot: Lot) -> None:
        """Number them and write them, one lot at a time: the broker counts what it reads. Not cancelled once it has begun."""
        async with self._writing:
            if channel.is_closed:
                raise BrokerUnavailable("its channel was closed before it was written")
            lot.begun = True
            frames = self._frames(channel, messages, lot)
            if frames:
                with mapped("publishing"):
                    await channel.write(frames)

    def _silence(self) -> str:
        connection = self._line.open
        blocked = connection.blocked if connection is not None else None
        return f"the broker takes nothing now: {blocked}" if blocked else "no answer in time"

    async def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None and not channel.is_closed:
            with suppress(BrokerError), mapped("cannot close a channel"):
                await channel.close()

    # ---------------------------------------------------------------- the channel

    _trouble = "no connection in time"

    async def _ready(self) -> Channel:
        """The channel, when there is one that the broker takes publishes on. Raises `BrokerError` where it never will."""
        while True:
            channel = self._channel
            if channel is not None and not channel.is_closed:
                blocked = channel.connection.blocked  # type: ignore[attr-defined]
                if blocked is None:
                    return channel
                self._trouble = f"it takes nothing now: {blocked}"
                await asyncio.sleep(0.05)
                continue
            async with self._opening:
                if self._channel is None or self._channel.is_closed:
                    try:
                        self._channel = await self._open()
                    except BrokerError as error:
                        if not isinstance(error, BrokerUnavailable):
                            raise
                        self._trouble = str(error)

    async def _open(self) -> Channel:
        channel = await self._line.channel(confirms=True)
        try:
            with mapped(f"cannot publish to {self._destination.name}"):
                await channel.exchange_declare(self._exchange, passive=True)
        except DestinationMissing as error:
            raise DestinationMissing(missing(self._destination.name)) from error
        self._pending, self._returned = {}, {}
        pending, returned = self._pending, self._returned
        channel.on_confirm = lambda tag, multiple, stored: self._confirmed(pending, returned, tag, multiple, stored)
        channel.on_return = lambda header, reason: _returned(returned, header, reason)
        channel.when_gone(lambda error: _lost(pending, error))
        return channel

    # ---------------------------------------------------------------- sending

    def _frames(self, channel: Channel, messages: Sequence[Message], lot: Lot) -> list[bytes]:
        """What is to be written. What cannot be is refused, and takes no number."""
        frames: list[bytes] = []
        methods: dict[tuple[str, str], bytes] = {}
        number, most = channel.number, channel.connection.connection_tune.frame_max
        now = self._clock.time()
        for place, message in enumerate(messages):
            mark = channel.published + 1
            try:
                way = self._way(message, now)
                if (method := methods.get(way)) is None:
                    method = methods[way] = wire.method(number, *way, mandatory=self._mandatory)
                frames.append(self._written(message, mark, number, method, most))
            except ValueError as error:
                lot.decide(place, Refused(f"the message cannot be sent: {error}"))
                continue
            channel.published = mark
            self._pending[mark] = Pending(lot, place, message.id)
        return frames

    def _written(self, message: Message, mark: int, number: int, method: bytes, most: int) -> bytes:
        """The frames. A dead letter is made to fit, since it has nowhere else to go. Raises `ValueError`."""
        body = message.body or b""
        try:
            return wire.publish(number, method, headers.write(message, mark), body, most)
        except ValueError:
            if self._destination.kind != "dead":
                raise
            for shorter in headers.shortened(message):
                with suppress(ValueError):
                    return wire.publish(number, method, headers.write(shorter, mark), body, most)
            raise

    def _way(self, message: Message, now: float) -> tuple[str, str]:
        """The exchange and the routing key."""
        key, most = message.key, self._partitions
        partition = random.randrange(most) if key is None else partition_of(key.encode(), most)  # noqa: S311 - not a secret
        if message.due is not None and (wait := message.due.timestamp() - now) > 0:
            return ladder.route(wait, self._address, partition)
        return self._exchange, str(partition)

    # ---------------------------------------------------------------- what becomes of it

    def _confirmed(
        self, pending: dict[int, Pending], returned: dict[int, str], tag: int, multiple: bool, stored: bool
    ) -> None:
        if not multiple:
            if (found := pending.pop(tag, None)) is not None:
                self._decide(found, returned.pop(tag, None), tag, stored)
            return
        for mark in list(pending):  # in ascending order: that is how they were put there
            if mark > tag:
                break
            self._decide(pending.pop(mark), returned.pop(mark, None), mark, stored)

    def _decide(self, found: Pending, returned: str | None, mark: int, stored: bool) -> None:
        if returned is not None:
            found.lot.decide(found.place, self._unrouted(returned))
        elif stored:
            found.lot.decide(found.place, Confirmed(found.ident, f"{self._exchange} {mark}"))
        else:
            found.lot.decide(found.place, self._rejected())

    def _unrouted(self, reason: str) -> Refused:
        if self._destination.kind == "topic":
            return Refused(unrouted(self._destination.topic.name))
        return Refused(f"{self._destination.name} is not there ({reason}): run `waybill topology apply`")

    def _rejected(self) -> SendResult:
        most = self._destination.topic.max_length
        if self._destination.kind == "topic" and most is not None:
            full = f"{most} messages wait in one of its groups, which is its max_length: publish again later"
            return Refused(full, transient=True) if self._alone() else Unknown(full)
        return Unknown("the broker refused it (basic.nack): one of its queues is full, or could not store it")

    def _give_up(self, lot: Lot, cause: str) -> None:
        for place in range(len(lot.results)):
            lot.decide(place, Unknown(cause))


def _returned(returned: dict[int, str], header: RawHeader, reason: str) -> None:
    if (mark := headers.mark_of(header.raw)) is not None:
        returned[mark] = reason


def _lost(pending: dict[int, Pending], error: BaseException | None) -> None:
    """The channel has closed: what has no answer by now will get none."""
    cause = "the connection was lost before the answer came" if error is None else said(error)
    for found in pending.values():
        found.lot.decide(found.place, Unknown(cause))
    pending.clear()
