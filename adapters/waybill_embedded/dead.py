"""A group's dead letters, to take: rows that one member at a time has."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from waybill.errors import DestinationMissing, missing
from waybill.message import Delivery
from waybill.outcomes import DONE, LOST, Extended, ExtendResult, Release, Settled, SettleResult
from waybill.topology import Subscription
from waybill_embedded import rows
from waybill_embedded.engine import Engine
from waybill_embedded.groups import find
from waybill_embedded.members import Members
from waybill_embedded.source import Token, take_back

__all__ = ["DeadSource"]


class DeadSource:
    """One group's dead letters, to take. `Ack` removes one for good, `Release` puts it back as it was."""

    def __init__(self, engine: Engine, members: Members, subscription: Subscription) -> None:
        self._engine = engine
        self._members = members
        self._subscription = subscription
        self._last = 0
        self._horizon = 0
        """The newest letter there was when it was opened: what comes later is for the next look."""

    async def open(self) -> None:
        numbers = await self._engine.write(lambda c: find(c, self._subscription.topic.name, self._subscription.group))
        if numbers is None:
            raise DestinationMissing(missing(self._subscription.name))
        self._group = numbers[1]
        await take_back(self._engine, self._members)  # what a process had taken that has died since
        newest = await self._engine.write(
            lambda c: c.execute("SELECT max(id) FROM dead WHERE grp = ?", (self._group,)).fetchone()
        )
        self._horizon = newest[0] or 0

    async def close(self) -> None:
        member, group = self._members.id, self._group
        await self._engine.write(
            lambda c: c.execute("UPDATE dead SET owner = NULL WHERE owner = ? AND grp = ?", (member, group))
        )

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        """The next dead letters that nobody has taken. Does not wait: empty means that there are no more."""

        def work(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            member = self._members.session(connection, self._subscription.lease)
            return connection.execute(
                """UPDATE dead SET owner = ? WHERE id IN (
                       SELECT id FROM dead WHERE grp = ? AND id > ? AND id <= ? AND owner IS NULL ORDER BY id LIMIT ?)
                   RETURNING id, message, body""",
                (member, self._group, self._last, self._horizon, limit),
            ).fetchall()

        lease_until = time.monotonic() + self._subscription.lease
        taken = sorted(await self._engine.write(work))
        self._last = taken[-1][0] if taken else self._last
        topic = self._subscription.topic.name
        return [
            Delivery(
                message=rows.read_any(*row[1:], number=row[0], topic=topic),
                topic=topic,
                group=self._subscription.group,
                lease_until=lease_until,
                token=Token(row[0], self._members.id),
            )
            for row in taken
        ]

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        def work(connection: sqlite3.Connection) -> list[SettleResult]:
            results: list[SettleResult] = []
            for item in settled:
                place = item.delivery.token.seq, item.delivery.token.member
                if isinstance(item.settlement, Release):
                    done = connection.execute("UPDATE dead SET owner = NULL WHERE id = ? AND owner = ?", place)
                else:
                    done = connection.execute("DELETE FROM dead WHERE id = ? AND owner = ?", place)
                results.append(DONE if done.rowcount else LOST)
            return results

        return await self._engine.write(work)

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        lease_until = time.monotonic() + self._subscription.lease
        alive = await self._engine.write(lambda connection: self._members.renew(connection, lease_until))
        return [Extended(lease_until) if alive and d.token.member == self._members.id else LOST for d in deliveries]

    async def quiesce(self) -> None:
        pass  # `receive` never waits
