"""Who holds a message for longer than the broker allows: 4.0 closes the channel, 4.3 cancels the consumer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.brokers.administration import Administration
from tests.rabbitmq.looking import until
from waybill import App, Settings, Topic

pytestmark = pytest.mark.disturbs

SET = "[application:set_env(rabbit, K, V) || {K, V} <- [{consumer_timeout, %s}, {channel_tick_interval, %s}]]."


@pytest.fixture
def url(boss: Administration) -> Iterator[str]:
    """Of a broker whose channels, which read both when they are opened, are impatient."""
    boss.ctl("eval", SET % (4000, 500))
    with boss.vhost() as url:
        yield url
    boss.ctl("eval", SET % (1800000, 60000))


async def test_who_takes_too_long_has_his_consumer_back_and_handles_nothing_twice(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    topic, app = Topic("orders", int, groups=["group"]), App("group", settings=Settings(url=url))
    begun, go = list[int](), asyncio.Event()

    @app.consume(topic, concurrency=2, timeout=120)
    async def handle(number: int) -> None:
        begun.append(number)
        if number == 1:
            await go.wait()

    async with app.running():
        await app.publish(topic, 1)
        await until(lambda: begun == [1])
        await until(lambda: "orders/group: the broker does not deliver" in caplog.text, 40)
        go.set()
        await app.publish(topic, 2)
        await until(lambda: 2 in begun, 20)
        await until(lambda: not any(part.held for part in app.health().parts), 30)
    assert sorted(begun) == [1, 2], "what came back was adopted, and is handled once"
