"""From one shared queue to partitions, when the first consumer of a group that a contract named turns out to be ordered.

What lies in the shared queue goes to the partitions first; then they take its place at the group's exchange, and what came
in between follows. Only what is published in that moment may be there twice, or before its time.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

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
    """One by one, each confirmed before it is taken away: this is done once in a group's life."""
    with mapped(f"cannot move what is in {inbox}"):
        while True:
            got: Any = await channel.basic_get(inbox)
            if got.delivery_tag is None:
                return
            key = headers.key_of(got.header.raw)
            place = secrets.randbelow(len(queues)) if key is None else partition_of(key, len(queues))
            await _publish(channel, queues[place], got.header.raw, got.body)
            await channel.write([wire.acks(channel.number, [(got.delivery_tag, False)])])


async def _publish(channel: Channel, queue: str, raw: bytes, body: bytes) -> None:
    channel.published += 1
    mark, answer = channel.published, asyncio.get_running_loop().create_future()

    def confirmed(tag: int, multiple: bool, stored: bool) -> None:
        if not answer.done() and (tag == mark or (multiple and tag > mark)):
            answer.set_result(stored)

    channel.on_confirm = confirmed
    method = wire.method(channel.number, "", queue, mandatory=True)
    await channel.write([wire.publish(channel.number, method, raw, body, channel.connection.connection_tune.frame_max)])
    async with asyncio.timeout(ANSWER):
        if not await answer:
            raise BrokerUnavailable(f"{queue} did not take what was moved to it")
