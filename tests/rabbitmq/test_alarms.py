"""A broker that is short of memory or disk takes nothing, and gives what it has. Nothing confirmed is lost."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import pytest

from tests.brokers.administration import Administration
from tests.rabbitmq.looking import eventually, until
from waybill import App, Confirmed, PublishRefused, PublishUnknown, Settings, Topic

pytestmark = pytest.mark.disturbs

ALARMS = {
    "memory": (("set_vm_memory_high_watermark", "0.000001"), ("set_vm_memory_high_watermark", "absolute", "1GB")),
    "disk": (("set_disk_free_limit", "1000000GB"), ("set_disk_free_limit", "50MB")),
}


@pytest.mark.parametrize("kind", ALARMS)
async def test_under_an_alarm_publishing_says_so_and_consuming_goes_on(
    boss: Administration, url: str, kind: str
) -> None:
    on, off = ALARMS[kind]
    topic, handled = Topic("orders", int, groups=["group"]), Counter[int]()
    sender, receiver = (App("group", settings=Settings(url=url), topics=[topic]) for _ in range(2))
    confirmed, refused, unknown = set[int](), dict[int, str](), set[int]()

    @receiver.consume(topic, concurrency=1)
    async def handle(number: int) -> None:
        handled[number] += 1
        await asyncio.sleep(0.01)

    async def publish(number: int, deadline: float = 2) -> None:
        try:
            await sender.publish(topic, number, deadline=deadline)
        except PublishUnknown:
            unknown.add(number)
        except PublishRefused as error:
            refused[number] = str(error)
        else:
            confirmed.add(number)

    async with sender.running(consume=False):
        await asyncio.gather(*(publish(number, 30) for number in range(300)))
        assert len(confirmed) == 300
        try:
            await asyncio.to_thread(boss.ctl, *on)
            under_way = [asyncio.create_task(publish(number)) for number in range(300, 320)]
            async with receiver.running():
                await until(lambda: len(handled) >= 300, 30)
                await asyncio.gather(*under_way)
                assert not confirmed & set(range(300, 320)), "it took something"
                lots = itertools.count(320, 20)

                async def known() -> bool:
                    lot = range(first := next(lots), first + 20)
                    await asyncio.gather(*map(publish, lot))
                    return refused.keys() >= set(lot)

                await eventually(known, 30)  # a loop that stood still at the deadline has them in doubt
                assert len(confirmed) == 300, "it took something"
                assert all("takes nothing now" in why for why in refused.values())
                await asyncio.to_thread(boss.ctl, *off)
                await until(lambda: sender.health().ok)
                result = await sender.publish(topic, -1, deadline=15)
                assert isinstance(result, Confirmed)
                written = {number for number in unknown if number < 320}
                await until(lambda: {*range(300), *written, -1} <= set(handled), 15)
        finally:
            await asyncio.to_thread(boss.ctl, *off)
    assert not set(refused) & set(handled), "what was refused is not there"
    assert set(handled.values()) == {1}
