"""A consumer that the broker has forgotten without a word: its connection lives, and nothing is delivered."""

from __future__ import annotations

import asyncio

from tests.brokers.administration import Administration, vhost_of
from tests.rabbitmq.looking import until
from waybill import App, Settings, Topic

FORGET = """
{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"%s">>, queue, <<"orders/group">>)),
Forgotten = [{element(2, C), element(1, C)} || C <- rabbit_amqqueue:consumers(Q)],
[ra:process_command(amqqueue:get_pid(Q), rabbit_fifo:make_checkout(Id, cancel, #{})) || Id <- Forgotten],
length(Forgotten).
"""


async def test_a_consumer_that_is_silent_with_a_backlog_is_connected_anew(boss: Administration, url: str) -> None:
    topic, handled = Topic("orders", int, groups=["group"]), list[int]()
    app = App("group", settings=Settings(url=url, stall_after=2.0))

    @app.consume(topic)
    async def handle(number: int) -> None:
        handled.append(number)

    async with app.running():
        await app.publish(topic, 1)
        await until(lambda: handled == [1])
        forgotten = await asyncio.to_thread(boss.ctl, "eval", FORGET % vhost_of(url))
        assert int(forgotten) >= 1
        await app.publish(topic, 2)
        told = await until(
            lambda: [part for part in app.health().parts if "none was delivered" in str(part.reasons)], 30
        )
        assert told[0].name == "orders/group"
        await until(lambda: handled == [1, 2], 30)
        await until(lambda: not any(part.reasons for part in app.health().parts), 30)
