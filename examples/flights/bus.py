"""A look at the bus from outside, through the same interface on every broker."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from examples.flights.contracts import delays, departures

from waybill import Message, Settings
from waybill.adapter import Admin
from waybill.clock import SystemClock
from waybill.loading import AdapterContext, open_adapter
from waybill.topology import Subscription

__all__ = ["dead_letters", "left", "look_at"]

FOLLOW = Subscription(topic=departures.spec, group="delays", ordered=True)
ALERT = Subscription(topic=delays.spec, group="alerts")


@asynccontextmanager
async def look_at(url: str) -> AsyncGenerator[Admin]:
    """The bus at `url`. Raises `AdapterNotFound` or `BrokerUnavailable`."""
    context = AdapterContext(application="flights-demo", clock=SystemClock(), options=Settings(url=url).broker)
    async with open_adapter(url, context) as adapter:
        yield adapter.admin


async def left(bus: Admin) -> int:
    """Messages that lie before the service's groups, or in its hands, as far as the broker can tell."""
    backlogs = [await bus.backlog(FOLLOW), await bus.backlog(ALERT)]
    counts = [count.value for backlog in backlogs for count in (backlog.ready, backlog.in_flight, backlog.delayed)]
    return int(sum(value for value in counts if value is not None))


async def dead_letters(bus: Admin) -> list[Message]:
    """The departures that the service has dead-lettered."""
    page = await bus.browse(FOLLOW)
    found = list(page.messages)
    while page.after is not None:
        page = await bus.browse(FOLLOW, after=page.after)
        found.extend(page.messages)
    return found
