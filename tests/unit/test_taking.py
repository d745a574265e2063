"""Holding dead letters: what their leases cost."""

from __future__ import annotations

import asyncio
from typing import Any

from waybill.taking import Letters
from waybill.topology import Subscription, TopicSpec


async def test_waiting_with_nothing_in_hand_is_idle() -> None:
    subscription = Subscription(topic=TopicSpec("orders"), group="billing")
    nothing: Any = None
    letters = Letters(nothing, subscription, lambda _: True, there=None, limit=None)
    now, looks = letters._now, 0

    def counted() -> float:
        nonlocal looks
        looks += 1
        return now()

    letters._now = counted
    await letters.pause(now() + 0.2)
    await letters.keeping(asyncio.sleep(0.2))
    assert looks < 50
