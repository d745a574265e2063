"""K. Faults: the broker goes away and comes back."""

from __future__ import annotations

import asyncio

from waybill import Confirmed, Refused
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Task


@behaviour("C02", verbs=("away",), seconds=10)
async def after_an_outage_consuming_goes_on_by_itself_and_nothing_confirmed_is_lost(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, concurrency=4)
    confirmed: list[int] = []
    refused: list[int] = []
    ending = asyncio.Event()

    async def publish() -> None:
        number = 0
        while not ending.is_set():
            (result,) = await app.publish_many(topic, [Task(number, str(number), "sleep=0.05")], deadline=20.0)
            if isinstance(result, Confirmed):
                confirmed.append(number)
            elif isinstance(result, Refused):
                refused.append(number)
            number += 1
            await asyncio.sleep(0.01)

    assert bench.broker.away is not None
    async with app.running():
        publishing = asyncio.create_task(publish())
        await bench.until(lambda: len(journal.of("done")) >= 5)
        async with bench.broker.away():
            await asyncio.sleep(7.0)  # as long as the outage lasts
        before = len(confirmed)
        await bench.until(lambda: len(confirmed) >= before + 5, "publishing goes on", within=60)
        ending.set()
        await publishing
        await bench.until(
            lambda: set(confirmed) <= set(journal.numbers()), "all that was confirmed is handled", within=60
        )
    assert not set(refused) & set(journal.numbers()), "what was refused is certainly not stored"
