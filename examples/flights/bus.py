"""A look at the bus from outside, through the same interface on every broker."""

from contextlib import AbstractAsyncContextManager

from examples.flights.contracts import delays, departures
from waybill import App, Message, Settings
from waybill.adapter import Admin
from waybill.topology import Subscription

__all__ = ["dead_letters", "left", "look_at"]

FOLLOW = Subscription(topic=departures.spec, group="delays", ordered=True)
ALERT = Subscription(topic=delays.spec, group="alerts")


def look_at(url: str) -> AbstractAsyncContextManager[Admin]:
    """The bus at `url`. Raises `AdapterNotFound` or `BrokerUnavailable`."""
    return App("flights-demo", settings=Settings(url=url)).admin()


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
