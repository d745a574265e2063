"""RabbitMQ has one number for a queue that is not there and for one that cannot be reached: only the first is missing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pamqp import commands

from waybill import BrokerUnavailable
from waybill_rabbitmq import declaring
from waybill_rabbitmq.client import refusal
from waybill_rabbitmq.declaring import Hand
from waybill_rabbitmq.objects import Queue

MISSING = "NOT_FOUND - no queue 'q' in vhost '/'"
DOWN = "NOT_FOUND - home node 'rabbit@localhost' of durable queue 'q' in vhost '/' is down or inaccessible"


class Line:
    """Its channels answer a declaration with what the broker says, and end; with nothing said any more, all is well."""

    def __init__(self, *said: str) -> None:
        self.said = list(said)
        self.declared = 0

    async def channel(self) -> Any:
        return SimpleNamespace(is_closed=True, queue_declare=self._declare)  # so that each is asked once

    async def _declare(self, *_: object, **__: object) -> Any:
        if self.said:
            raise refusal(commands.Channel.Close(reply_code=404, reply_text=self.said.pop(0), class_id=0, method_id=0))
        self.declared += 1
        return SimpleNamespace(message_count=3, consumer_count=1)


def hand(line: Line) -> Hand:
    return Hand(line)  # type: ignore[arg-type]


async def test_a_queue_that_is_being_made_by_another_member_is_asked_for_again() -> None:
    line = Line(DOWN, DOWN)
    await hand(line).make_queue(Queue("q", {}))
    assert line.declared == 1
    found = await hand(Line(DOWN)).queue("q")
    assert found is not None
    assert found.messages == 3


async def test_a_queue_that_stays_inaccessible_is_not_taken_for_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declaring, "PATIENCE", 0.0)
    with pytest.raises(BrokerUnavailable, match="is down or inaccessible"):
        await hand(Line(DOWN)).queue("q")


async def test_a_queue_that_is_not_there_is_missing() -> None:
    assert await hand(Line(MISSING)).queue("q") is None
