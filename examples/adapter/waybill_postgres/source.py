"""The ways out: a group's messages, and its dead letters.

A row that somebody holds has a `holder`, and is `due` when its lease ends; so what is due may be taken, held or not. What
was held and is due has been given up by a member that died, which its `crashes` count.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec

from waybill.adapter import Notify, Resumed, Stalled
from waybill.errors import BrokerError, BrokerUnavailable, DestinationMissing, missing
from waybill.message import Delivery
from waybill.outcomes import (
    DONE,
    LOST,
    Ack,
    DeadLetter,
    Defer,
    Extended,
    ExtendResult,
    Release,
    Settled,
    SettlementKind,
    SettleResult,
)
from waybill.settling import back_off
from waybill.topology import Subscription
from waybill_postgres.link import Link, Place
from waybill_postgres.rows import read, write

__all__ = ["DeadSource", "GroupSource"]

LOOK = 1.0
"""Seconds between two looks at the table when nobody says that there is something."""

ANY, OLDEST = "true", "due, id"
FIRST, LOWEST = (
    """NOT EXISTS (
        SELECT FROM messages o WHERE o.grp = m.grp AND o.key = m.key AND o.id <> m.id
        AND (o.holder IS NOT NULL AND o.due > now() OR o.id < m.id AND (o.attempts > 0 OR o.due <= now())))""",
    "id",
)
"""In order: nothing of its key is held or stands before it. One that was published for later joins the line when it is due."""

DUE = "SELECT id FROM messages m WHERE grp = $1 AND due <= now() AND dead = {dead} AND {which}"
HOLD = "UPDATE messages SET holder = $2, due = now() + $3::interval, handed = handed + 1, {more} WHERE id IN ({ids}) RETURNING *"
DIED = "(holder IS NOT NULL)::int"
TAKE = f"""
    WITH suspect AS ({DUE} AND $5 AND crashes + {DIED} > 0 ORDER BY {{order}} LIMIT 1 FOR UPDATE SKIP LOCKED),
         clean AS ({DUE} AND crashes + {DIED} = 0 ORDER BY {{order}}
                   LIMIT $4 - (SELECT count(*) FROM suspect) FOR UPDATE SKIP LOCKED)
    {HOLD.format(more=f"crashes = crashes + {DIED}", ids="TABLE suspect UNION ALL TABLE clean")}"""
"""What a holder may have died of is held one at a time, to tell it from what was merely near it."""

TAKE_ANY = TAKE.format(dead=False, which=ANY, order=OLDEST)
TAKE_FIRST = TAKE.format(dead=False, which=FIRST, order=LOWEST)
TAKE_DEAD = HOLD.format(
    more="crashes = 0",
    ids=DUE.format(dead=True, which="id > $5 AND id <= $6 ORDER BY id LIMIT $4 FOR UPDATE SKIP LOCKED"),
)

NEXT = """SELECT (SELECT extract(epoch FROM min(due) - now())::float FROM messages
                  WHERE grp = $1 AND NOT dead AND due > now()) FROM groups WHERE id = $1"""

MINE = "m.holder = $1 AND m.id = d.id AND m.handed = d.handed RETURNING d.id"
GIVEN = "unnest($2::bigint[], $3::int[]"
SETTLE: dict[SettlementKind, str] = {
    Ack: f"DELETE FROM messages m USING {GIVEN}) d (id, handed) WHERE {MINE}",
    Release: f"""UPDATE messages m SET holder = NULL, due = now(), attempts = coalesce(d.attempts, m.attempts)
        FROM {GIVEN}, $4::int[]) d (id, handed, attempts) WHERE {MINE}""",
    Defer: f"""UPDATE messages m SET holder = NULL, due = now() + d.after, attempts = d.attempts, crashes = 0,
            first_failure = d.first, key = CASE WHEN d.relaxed THEN NULL ELSE m.key END, relaxed = m.relaxed OR d.relaxed
        FROM {GIVEN}, $4::interval[], $5::int[], $6::timestamptz[], $7::bool[])
             d (id, handed, after, attempts, first, relaxed) WHERE {MINE}""",
    DeadLetter: f"""UPDATE messages m SET id = DEFAULT, dead = true, holder = NULL, due = now(), key = NULL,
            attributes = d.attributes
        FROM {GIVEN}, $4::bytea[]) d (id, handed, attributes) WHERE {MINE}""",
}
"""Dead letters have a new number: that of their death."""
EXTEND = f"UPDATE messages m SET due = now() + $4 FROM {GIVEN}) d (id, handed) WHERE {MINE}"
GIVE_BACK = "UPDATE messages SET holder = NULL, due = now() WHERE holder = $1 AND NOT id = ANY ($2)"
TELL = "SELECT pg_notify(current_schema(), $1)"


class Token(msgspec.Struct, eq=False):
    """One hand-out of a row: settled by its number and by how often it had been handed out."""

    id: int
    handed: int
    lease_until: float
    asked: SettlementKind | None = None
    """What it was to be settled as when the answer was lost."""
    settled: SettlementKind | None = None


class Held:
    """What one member holds: settled, extended and given back alike, whether it lives or is dead."""

    def __init__(self, link: Link, subscription: Subscription) -> None:
        self._link = link
        self._subscription = subscription
        self._lease = timedelta(seconds=subscription.lease)
        self._me = uuid.uuid4()
        self._held: set[Token] = set()

    async def open(self) -> None:
        topic, group = self._subscription.topic.name, self._subscription.group
        rows = await self._link.ask("finding a group", "SELECT id FROM groups WHERE topic = $1 AND name = $2", topic, group)
        if not rows:
            raise DestinationMissing(missing(self._subscription.name))
        self._group: int = rows[0][0]

    async def close(self) -> None:
        with suppress(BrokerError):  # the leases run out by themselves
            await self._link.ask("giving back", GIVE_BACK, self._me, [])
            await self._tell()

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        asked: dict[SettlementKind, dict[Token, Settled]] = {}
        for item in settled:
            token: Token = item.delivery.token
            if token.settled is None and not any(token in items for items in asked.values()):
                asked.setdefault(type(item.settlement), {})[token] = item
        for kind, items in asked.items():
            await self._settle(kind, items)
        if Release in asked or (asked and self._subscription.ordered):
            await self._tell()
        return [DONE if item.delivery.token.settled is type(item.settlement) else LOST for item in settled]

    async def _settle(self, kind: SettlementKind, items: dict[Token, Settled]) -> None:
        columns = zip(*(_columns(token, item) for token, item in items.items()), strict=True)
        again = {token for token in items if token.asked is kind}
        for token in items:
            token.asked = kind
        rows = await self._link.ask("settling", SETTLE[kind], self._me, *map(list, columns))
        done, now = {number for (number,) in rows}, time.monotonic()
        for token in items:
            # While the lease lasts nobody else can have it: what was asked before and is gone was done then.
            if token.id in done or (token in again and now < token.lease_until):
                token.settled = kind
            self._held.discard(token)

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        begin = time.monotonic()
        tokens: list[Token] = [delivery.token for delivery in deliveries]
        living = [token for token in tokens if token.settled is None and begin < token.lease_until]
        values = [token.id for token in living], [token.handed for token in living], self._lease
        rows = await self._link.ask("extending leases", EXTEND, self._me, *values)
        kept = {number for (number,) in rows}
        for token in living:
            if token.id in kept:
                token.lease_until = begin + self._subscription.lease
        extended = {token for token in living if token.id in kept}
        return [Extended(token.lease_until) if token in extended else LOST for token in tokens]

    async def _tell(self) -> None:
        """There may be something for other members."""
        await self._link.ask("telling others", TELL, str(self._group))

    def _delivery(self, row: Any, lease_until: float) -> Delivery[Any]:
        token = Token(row["id"], row["handed"], lease_until)
        self._held.add(token)
        topic = self._subscription.topic.name
        message = read(row["attributes"], row["body"], number=token.id, topic=topic)
        if row["first_failure"] is not None:
            message = msgspec.structs.replace(message, first_failure=row["first_failure"])
        return Delivery(
            message=message,
            topic=topic,
            group=self._subscription.group,
            attempt=1 + max(row["attempts"], message.attempts) + max(0, row["crashes"] - 1),
            redelivered=token.handed > 1,
            handed_out=token.handed,
            out_of_order=row["relaxed"],
            lease_until=lease_until,
            token=token,
        )


def _columns(token: Token, item: Settled) -> tuple[object, ...]:
    settlement = item.settlement
    if isinstance(settlement, Ack):
        return token.id, token.handed
    if isinstance(settlement, Release):
        return token.id, token.handed, settlement.attempts
    if isinstance(settlement, Defer):
        after = timedelta(seconds=settlement.after)
        return token.id, token.handed, after, settlement.attempts, settlement.first_failure, settlement.relaxed
    return token.id, token.handed, write(msgspec.structs.replace(item.delivery.message, dead=settlement.record))


class GroupSource(Held):
    """A group's messages. It has a connection of its own, which takes them and hears that there are some."""

    def __init__(self, place: Place, link: Link, subscription: Subscription, notify: Notify) -> None:
        super().__init__(link, subscription)
        self._channel = place.options.schema_name
        self._notify = notify
        self._own = Link(place, self._listen)
        self._woken = asyncio.Event()
        self._quiet = False
        self._suspects: set[Token] = set()

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
        lease_until = time.monotonic() + self._subscription.lease
        self._suspects &= self._held
        values = self._group, self._me, self._lease, limit, not self._suspects
        if self._subscription.ordered:
            rows = await self._own.ask_in_turn("receiving", self._group, TAKE_FIRST, *values)
        else:
            rows = await self._own.ask("receiving", TAKE_ANY, *values)
        deliveries = [self._delivery(row, lease_until) for row in sorted(rows, key=lambda row: row["id"])]
        suspects = {row["id"] for row in rows if row["crashes"]}
        self._suspects |= {delivery.token for delivery in deliveries if delivery.token.id in suspects}
        return deliveries

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
        lease_until = time.monotonic() + self._subscription.lease
        values = self._group, self._me, self._lease, limit, self._after, self._last
        rows = sorted(await self._link.ask("taking dead letters", TAKE_DEAD, *values), key=lambda row: row["id"])
        self._after = rows[-1]["id"] if rows else self._after
        return [self._delivery(row, lease_until) for row in rows]

    async def quiesce(self) -> None:
        pass  # `receive` never waits
