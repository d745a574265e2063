"""From one shared queue to partitions, when the first consumer of a group that a contract named turns out to be ordered.

What lies in the shared queue goes to the partitions first; then they take its place at the group's exchange, and what came
in between follows. Only what is published in that moment may be there twice, or before its time.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import NamedTuple

from aiormq.exceptions import ChannelLockedResource

from waybill.errors import BrokerError, BrokerUnavailable
from waybill_rabbitmq import headers, wire
from waybill_rabbitmq.client import Channel
from waybill_rabbitmq.declaring import Hand
from waybill_rabbitmq.line import Line
from waybill_rabbitmq.mapping import mapped
from waybill_rabbitmq.names import partition_of
from waybill_rabbitmq.objects import Objects, Queue

__all__ = ["replace"]

PATIENCE = 30.0
"""Seconds that another process is given which is at it already."""
ANSWER = 10.0
LOT = 250
"""Messages moved at once."""


async def replace(line: Line, hand: Hand, inbox: str, queues: Sequence[str], made: Objects) -> None:
    """Let `queues`, which are part of `made`, take the place of the queue `inbox`. Raises `BrokerError`."""
    lock = Queue(f"{inbox}/moving", {"x-queue-type": "classic"}, passing=True)
    await _only_we(hand, lock)
    channel = await line.channel(confirms=True)
    try:
        if await hand.queue(inbox) is None:
            return  # somebody else has done it meanwhile
        for queue in (item for item in made if isinstance(item, Queue) and item.name in queues):
            await hand.make_queue(queue)
        await _move(channel, inbox, queues)
        await hand.make(made)
        await hand.unbind(inbox, inbox, "#")
        await _move(channel, inbox, queues)
        await hand.remove_queue(inbox)
    finally:
        with mapped("cannot close a channel"):
            await channel.close()
        await hand.remove_queue(lock.name)


async def _only_we(hand: Hand, lock: Queue) -> None:
    end = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            await hand.make_queue(lock)
        except BrokerError as error:
            if not isinstance(error.__cause__, ChannelLockedResource) or asyncio.get_running_loop().time() > end:
                raise
            await asyncio.sleep(0.1)
        else:
            return


async def _move(channel: Channel, inbox: str, queues: Sequence[str]) -> None:
    """In lots, in order, each confirmed before it is taken away."""
    with mapped(f"cannot move what is in {inbox}"):
        while lot := await _fetch(channel, inbox):
            await _publish(channel, queues, lot)
            await channel.write([wire.acks(channel.number, [(lot[-1].tag, True)])])


class Got(NamedTuple):
    tag: int
    raw: bytes
    body: bytes


async def _fetch(channel: Channel, inbox: str) -> list[Got]:
    """The next of the queue. No consumer, for that would look like somebody's work."""
    async with asyncio.timeout(ANSWER):
        return [Got(tag, header.raw, body) for tag, header, body in await channel.get_many(inbox, LOT)]


async def _publish(channel: Channel, queues: Sequence[str], lot: Sequence[Got]) -> None:
    last, answered = channel.published + len(lot), asyncio.get_running_loop().create_future()
    waiting = set(range(channel.published + 1, last + 1))
    refused: list[int] = []

    def confirmed(tag: int, multiple: bool, stored: bool) -> None:
        done = {mark for mark in waiting if mark <= tag} if multiple else {tag}
        waiting.difference_update(done)
        if not stored:
            refused.extend(done)
        if not waiting and not answered.done():
            answered.set_result(None)

    channel.published, channel.on_confirm = last, confirmed
    most = channel.connection.connection_tune.frame_max
    methods = [wire.method(channel.number, "", queue, mandatory=True) for queue in queues]
    await channel.write(
        [wire.publish(channel.number, methods[_place(one, len(queues))], one.raw, one.body, most) for one in lot]
    )
    async with asyncio.timeout(ANSWER):
        await answered
    if refused:
        raise BrokerUnavailable(f"{len(refused)} of what was moved to partitions were not taken")


def _place(one: Got, partitions: int) -> int:
    key = headers.key_of(one.raw)
    return secrets.randbelow(partitions) if key is None else partition_of(key, partitions)
