"""What one member holds, until it is settled: rows that it has taken, each for as long as its lease lasts."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec

from waybill.errors import BrokerError, DestinationMissing, missing
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
from waybill.topology import Subscription
from waybill_postgres.link import Link
from waybill_postgres.rows import read, write

__all__ = ["GIVE_BACK", "Held", "Token"]

MINE = "m.holder = $1 AND m.id = d.id AND m.handed = d.handed RETURNING d.id, d.handed"
GIVEN = "unnest($2::bigint[], $3::int[]"
SETTLE: dict[SettlementKind, str] = {
    Ack: f"DELETE FROM messages m USING {GIVEN}) d (id, handed) WHERE {MINE}",
    Release: f"""UPDATE messages m SET holder = NULL, due = now(), attempts = coalesce(d.attempts, m.attempts)
        FROM {GIVEN}, $4::int[]) d (id, handed, attempts) WHERE {MINE}""",
    Defer: f"""UPDATE messages m SET holder = NULL, due = now() + d.after, attempts = d.attempts, lost = 0,
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
    lost: int = 0
    """How many holders before had it when their leases ran out."""
    asked: SettlementKind | None = None
    """What it was to be settled as when the answer was lost."""
    settled: SettlementKind | None = None

    @property
    def place(self) -> tuple[int, int]:
        return self.id, self.handed


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
        rows = await self._link.ask(
            "finding a group", "SELECT id FROM groups WHERE topic = $1 AND name = $2", topic, group
        )
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
        done, now = {(number, handed) for number, handed in rows}, time.monotonic()
        for token in items:
            # While the lease lasts nobody else can have it: what was asked before and is gone was done then.
            if token.place in done or (token in again and now < token.lease_until):
                token.settled = kind
            self._held.discard(token)

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        begin = time.monotonic()
        tokens: list[Token] = [delivery.token for delivery in deliveries]
        living = [token for token in tokens if token.settled is None and begin < token.lease_until]
        values = [token.id for token in living], [token.handed for token in living], self._lease
        rows = await self._link.ask("extending leases", EXTEND, self._me, *values)
        kept = {(number, handed) for number, handed in rows}
        extended = {token for token in living if token.place in kept}
        for token in extended:
            token.lease_until = begin + self._subscription.lease
        self._held.difference_update(token for token in tokens if token not in extended)
        return [Extended(token.lease_until) if token in extended else LOST for token in tokens]

    async def _tell(self) -> None:
        """There may be something for other members."""
        await self._link.ask("telling others", TELL, str(self._group))

    def _deliveries(self, rows: Sequence[Any], begin: float) -> list[Delivery[Any]]:
        """What was taken since `begin`, in order."""
        lease_until = begin + self._subscription.lease
        return [self._delivery(row, lease_until) for row in sorted(rows, key=lambda row: row["id"])]

    def _delivery(self, row: Any, lease_until: float) -> Delivery[Any]:
        token = Token(row["id"], row["handed"], lease_until, row["lost"])
        self._held.add(token)
        topic = self._subscription.topic.name
        message = read(row["attributes"], row["body"], number=token.id, topic=topic)
        if row["first_failure"] is not None:
            message = msgspec.structs.replace(message, first_failure=row["first_failure"])
        return Delivery(
            message=message,
            topic=topic,
            group=self._subscription.group,
            attempt=1 + max(row["attempts"], message.attempts) + max(0, token.lost - 1),
            redelivered=token.handed > 1,
            handed_out=token.handed,
            out_of_order=row["relaxed"],
            lease_until=lease_until,
            token=token,
            native=row,
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
