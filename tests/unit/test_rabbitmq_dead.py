"""Removing dead letters from a queue, where the way there is cut."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from waybill import BrokerError, Delivery, Message
from waybill.clock import SystemClock
from waybill.outcomes import ACK, LOST, Settled
from waybill.topology import Subscription, TopicSpec
from waybill_rabbitmq.dead import DeadSource, Letter


class Cut:
    """A channel that takes acknowledgements, and ends before the broker has read them."""

    number = 1

    def __init__(self, *, at: str) -> None:
        self.at = at
        self.is_closed = False

    async def write(self, _: object) -> None:
        self._end("write")

    async def basic_qos(self, **_: object) -> None:
        self._end("answer")

    def _end(self, at: str) -> None:
        if at == self.at:
            self.is_closed = True
            raise ConnectionError("reset by peer")


@pytest.mark.parametrize("at", ["write", "answer"])
async def test_what_the_broker_may_not_have_read_does_not_count_as_removed(at: str) -> None:
    subscription = Subscription(topic=TopicSpec("orders"), group="billing")
    nothing: Any = None
    source: Any = DeadSource(nothing, subscription, SystemClock())
    source._channel = channel = Cut(at=at)
    message = Message(id="m1", type="orders", source="shop", time=datetime.now(UTC))
    letter: Any = Letter(channel, 1)  # type: ignore[arg-type]
    delivery = Delivery(message=message, topic="orders", group="billing", token=letter)
    with pytest.raises(BrokerError):
        await source.settle([Settled(delivery, ACK)])
    assert await source.settle([Settled(delivery, ACK)]) == [LOST], "asked again, it is not known to be done"
