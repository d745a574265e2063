"""What a group was sent before it was known to be consumed in order.

A group that only a contract names has one queue, since how it will be consumed is for its consumer to say. When its partitions
are made, what is published from then on goes to them, message by message to one or the other. What lies in the first queue
is older, so it is handled first: by one member, while the others wait. Then the queue is deleted.
"""

from __future__ import annotations

from contextlib import suppress

from aiormq.exceptions import ChannelLockedResource

from waybill.errors import BrokerError, BrokerUnavailable
from waybill.topology import Subscription
from waybill_rabbitmq import names
from waybill_rabbitmq.declaring import Hand
from waybill_rabbitmq.line import Line
from waybill_rabbitmq.objects import Queue

__all__ = ["Busy", "Earlier"]


class Busy(BrokerUnavailable):
    """Another member handles what came before."""


class Earlier:
    """The first queue of one group. `line`: the connection that the turn to handle it belongs to, and ends with."""

    def __init__(self, line: Line, subscription: Subscription) -> None:
        self._line = line
        self._subscription = subscription
        self._turn = Queue(names.turn(subscription), {"x-queue-type": "classic"}, passing=True)
        self.ours = False
        """Whether it is this member's to handle."""

    @property
    def queue(self) -> str:
        return names.inbox(self._subscription.topic, self._subscription.group)

    async def claim(self) -> bool:
        """Whether this member has something to handle there. Raises `Busy` while another one has."""
        async with Hand(self._line) as hand:
            if not await self._left(hand):
                return False
            try:
                await hand.make_queue(self._turn)
            except BrokerError as error:
                if isinstance(error.__cause__, ChannelLockedResource):
                    raise Busy("another member handles what was published before the partitions were there") from error
                raise
            self.ours = await self._left(hand)
        if not self.ours:
            await self.leave()
        return self.ours

    async def is_through(self) -> bool:
        """Asked when nothing has come for a while and nothing is unsettled: whether nothing is left. It is gone then."""
        async with Hand(self._line) as hand:
            found = await hand.queue(self.queue)
            return found is None or not found.messages

    async def remove(self) -> None:
        """It is empty, and nobody consumes it any more."""
        async with Hand(self._line) as hand:
            with suppress(BrokerError):  # who may not delete it leaves it there, empty
                await hand.remove_queue(self.queue)
        await self.leave()

    async def leave(self) -> None:
        """Let another member have the turn."""
        self.ours = False
        async with Hand(self._line) as hand:
            with suppress(BrokerError):  # it goes with the connection
                await hand.remove_queue(self._turn.name)

    async def _left(self, hand: Hand) -> bool:
        """Messages of those who consume it are not counted, hence their consumers are."""
        found = await hand.queue(self.queue)
        return found is not None and (found.messages > 0 or found.consumers > 0)
