"""The ways out: a group's messages, and its dead letters.

A row that somebody holds has a `holder`, and is `due` when its lease ends; so what is due may be taken, held or not. What
was held and is due was `lost`: its holder has died, or is too slow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from waybill.adapter import Notify, Resumed, Stalled
from waybill.errors import BrokerUnavailable, DestinationMissing
from waybill.message import Delivery
from waybill.outcomes import Settled, SettleResult
from waybill.settling import back_off
from waybill.topology import Subscription
from waybill_postgres.held import GIVE_BACK, Held
from waybill_postgres.link import Link, Place

__all__ = ["DeadSource", "GroupSource"]

LOOK = 1.0
"""Seconds between two looks at the table when nobody says that there is something."""

LOST = "lost + (holder IS NOT NULL)::int"
DUE = "SELECT id FROM messages m WHERE grp = $1 AND due <= now() AND {which}"
TAKE = "UPDATE messages SET holder = $2, due = now() + $3::interval, handed = handed + 1, {more} WHERE id IN ({ids}) RETURNING *"
"""$1: the group. $2: who takes. $3: for how long. $4: how many. $5, of the living: whether one may be a suspect."""
TAKE_DEAD = TAKE.format(
    more="lost = 0",
    ids=DUE.format(which="dead AND id > $5 AND id <= $6 ORDER BY id LIMIT $4 FOR UPDATE SKIP LOCKED"),
)
TAKE_LIVING = f"""
    WITH suspect AS ({DUE} AND {LOST} > 0 AND $5 ORDER BY {{order}} LIMIT 1 FOR UPDATE SKIP LOCKED),
         clean AS ({DUE} AND {LOST} = 0 ORDER BY {{order}}
                   LIMIT $4 - (SELECT count(*) FROM suspect) FOR UPDATE SKIP LOCKED)
    {TAKE.format(more=f"lost = {LOST}", ids="TABLE suspect UNION ALL TABLE clean")}"""
"""What a holder may have died of is held one at a time, to tell it from what was merely near it."""
TAKE_ANY = TAKE_LIVING.format(which="NOT dead", order="due, id")
TAKE_FIRST = TAKE_LIVING.format(
    which="""NOT dead AND NOT EXISTS (
        SELECT FROM messages o WHERE o.grp = m.grp AND o.key = m.key AND o.id <> m.id
        AND (o.holder IS NOT NULL AND o.due > now() OR o.id < m.id AND (o.handed > 0 OR o.due <= now())))""",
    order="id",
)
"""In order: nothing of its key is held or stands before it. One that was published for later joins the line when it is due,
and what was handed out once stands there already: given back after this began (`now()`), it is due for the next who asks."""

NEXT = """SELECT (SELECT extract(epoch FROM min(due) - now())::float FROM messages
                  WHERE grp = $1 AND NOT dead AND due > now()) FROM groups WHERE id = $1"""


class GroupSource(Held):
    """A group's messages. It has a connection of its own, which takes them and hears that there are some."""

    def __init__(self, place: Place, link: Link, subscription: Subscription, notify: Notify) -> None:
        super().__init__(link, subscription)
        self._channel = place.options.schema_name
        self._notify = notify
        self._own = Link(place, self._listen)
        self._woken = asyncio.Event()
        self._quiet = False

    async def _listen(self, connection: Any) -> None:
        """What was taken over a connection that broke before the answer came is held by nobody."""
        await connection.add_listener(self._channel, self._hear)
        await connection.execute(GIVE_BACK, self._me, [token.id for token in self._held])

    def _hear(self, _connection: Any, _pid: int, _channel: str, group: str) -> None:
        if group == str(self._group):
            self._woken.set()

    async def open(self) -> None:
        await super().open()
        await self._own.open()

    async def close(self) -> None:
        await self._own.close()
        await super().close()

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        failures = 0
        while not self._quiet:
            self._woken.clear()
            try:
                deliveries = await self._take(limit)
                pause = LOOK if deliveries else await self._until_next()
            except BrokerUnavailable as error:
                failures += 1
                self._notify(Stalled(str(error)))
                deliveries, pause = [], back_off(failures)
            else:
                if failures:
                    self._notify(Resumed())
                failures = 0
            if deliveries:
                return deliveries
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()
        return ()

    async def quiesce(self) -> None:
        self._quiet = True
        self._woken.set()

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        results = await super().settle(settled)
        self._woken.set()
        return results

    async def _take(self, limit: int) -> list[Delivery[Any]]:
        free = not any(token.lost for token in self._held)
        begin, values = time.monotonic(), (self._group, self._me, self._lease, limit, free)
        if self._subscription.ordered:
            rows = await self._own.ask_in_turn("receiving", self._group, TAKE_FIRST, *values)
        else:
            rows = await self._own.ask("receiving", TAKE_ANY, *values)
        return self._deliveries(rows, begin)

    async def _until_next(self) -> float:
        """Seconds until there may be something, though nobody says so."""
        rows = await self._own.ask("looking", NEXT, self._group)
        if not rows:
            raise DestinationMissing(f"{self._subscription.name} was removed from this broker")
        return max(0.001, min(LOOK, LOOK if rows[0][0] is None else rows[0][0]))


class DeadSource(Held):
    """The dead letters that a group has when this is opened."""

    async def open(self) -> None:
        await super().open()
        last = "SELECT coalesce(max(id), 0) FROM messages WHERE grp = $1 AND dead"
        self._after = 0
        self._last: int = (await self._link.ask("looking", last, self._group))[0][0]

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        begin, values = time.monotonic(), (self._group, self._me, self._lease, limit, self._after, self._last)
        letters = self._deliveries(await self._link.ask("taking dead letters", TAKE_DEAD, *values), begin)
        self._after = letters[-1].token.id if letters else self._after
        return letters

    async def quiesce(self) -> None:
        pass  # `receive` never waits
