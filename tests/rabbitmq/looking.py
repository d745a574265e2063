"""What several tests of RabbitMQ do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from waybill import App, Message, Topic
from waybill.letters import pages
from waybill.topology import Subscription

__all__ = ["dead", "eventually", "until"]


async def eventually(look: Callable[[], Awaitable[Any]], within: float = 15.0) -> Any:
    """Look until there is something to be seen, and return it."""
    async with asyncio.timeout(within):
        while not (seen := await look()):
            await asyncio.sleep(0.05)
        return seen


async def until(look: Callable[[], Any], within: float = 15.0) -> Any:
    """The same for what needs no waiting itself."""

    async def seen() -> Any:
        return look()

    return await eventually(seen, within)


async def dead(app: App, topic: Topic[Any], group: str = "group") -> list[Message]:
    """The dead letters of a group."""
    async with app.admin() as admin:
        subscription = Subscription(topic=topic.spec, group=group)
        return [letter async for page in pages(admin, subscription) for letter in page.messages]
