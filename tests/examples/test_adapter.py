"""The adapter that somebody else wrote: a service finds it by its URL, and hears of a message when it is there."""

from __future__ import annotations

import asyncio
import time

from examples.adapter.harness import Operator
from tests.brokers.running import Running
from tests.contract.installing import installed
from tests.contract.postgres import PROJECT
from waybill import App, Settings, Topic

NUMBER = 10


async def test_a_service_finds_it_and_hears_of_each_message_at_once(postgres: Running) -> None:
    installed(PROJECT)
    operator = Operator(postgres.url)
    await operator.make()
    url = operator.as_user(operator.schema, operator.password)
    app = App("shop", settings=Settings(url=url, broker={"postgres": {"schema": operator.schema}}))
    orders = Topic("orders", int)
    handled = asyncio.Queue[int]()

    @app.consume(orders)
    async def handle(order: int) -> None:
        await handled.put(order)

    try:
        async with app.running():
            begin = time.monotonic()
            for number in range(NUMBER):
                await app.publish(orders, number)
                assert await asyncio.wait_for(handled.get(), 10) == number
            taken = time.monotonic() - begin
    finally:
        await operator.clear()
    assert taken < 0.2 * NUMBER, f"{taken:.1f} s for {NUMBER} messages, one after another: does nobody tell of them?"
