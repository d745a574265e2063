"""Holding dead letters: what their leases cost, and what becomes of the work for which they are held."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tests.unit.stand_ins import Bench, message, until
from waybill.message import Delivery
from waybill.outcomes import ExtendResult
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


class Broken(Bench):
    """An adapter with a bug."""

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        raise KeyError("a bug")


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_when_holding_is_cut_short_so_is_the_work_and_it_has_ended(how: str) -> None:
    bench = Bench() if how == "cancelled" else Broken()
    bench.push(message("a"))
    subscription = Subscription(topic=TopicSpec("orders"), group="billing", lease=0.03)
    letters = Letters(bench, subscription, lambda _: True, there=None, limit=None)
    assert await letters.take(1)
    begun, ended = asyncio.Event(), list[str]()

    async def send() -> None:
        try:
            begun.set()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended.append("sending")

    keeping = asyncio.create_task(letters.keeping(send()))
    await begun.wait()
    if how == "cancelled":
        keeping.cancel()
    await until(keeping.done)
    assert keeping.cancelled() or isinstance(keeping.exception(), KeyError)
    assert ended == ["sending"]
