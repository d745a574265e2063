"""The rights that docs/rabbitmq.md names are enough, and no role has more than it needs."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.brokers.administration import Administration
from tests.brokers.running import Running
from waybill import App, Settings, Topic, WaybillError

PAGE = Path(__file__).parents[2] / "docs" / "rabbitmq.md"


@dataclass
class Order:
    number: int


ORDERS = Topic("orders", Order, key=lambda order: str(order.number), groups=["billing"])


def rights(role: str) -> dict[str, str]:
    """A role's line of the page."""
    (line,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {role} |")]
    patterns = [pattern.replace("\\|", "|") for pattern in re.findall(r"`(\^[^`]+)`", line)]
    return dict(zip(("configure", "write", "read"), patterns, strict=True))


@pytest.mark.parametrize("ordered", [False, True])
async def test_each_role_has_what_it_needs(each_rabbitmq: Running, ordered: bool) -> None:
    boss = Administration(each_rabbitmq)
    with (
        boss.vhost() as url,
        boss.user(url, **rights("`waybill topology apply`")) as job,
        boss.user(url, **rights("publisher")) as publisher,
        boss.user(url, **rights("consumer")) as consumer,
    ):
        handled: list[int] = []
        failed = asyncio.Event()

        def service(url: str, topology: str) -> App:
            app = App("billing", settings=Settings(url=url, topology=topology))

            @app.consume(ORDERS, ordered=ordered)
            async def take(order: Order) -> None:
                if order.number == 1 and not failed.is_set():
                    failed.set()
                    raise LookupError("once")
                handled.append(order.number)

            return app

        async with service(job, "create").running(consume=False):
            pass
        shop = App("shop", settings=Settings(url=publisher, topology="assume"))
        async with service(consumer, "verify").running(), shop.running(consume=False):
            await shop.publish(ORDERS, Order(1))
            await shop.publish(ORDERS, Order(2), delay=0.2)
            async with asyncio.timeout(30):
                while sorted(handled) != [1, 2]:
                    await asyncio.sleep(0.05)
        with pytest.raises(WaybillError):
            async with service(publisher, "assume").running():
                pass
