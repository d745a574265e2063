"""The way out: one subscription's share of the log."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from waybill.adapter import Notify, Resumed, Stalled
from waybill.clock import Clock
from waybill.errors import BrokerUnavailable, DestinationMissing, missing
from waybill.message import Delivery
from waybill.outcomes import (
    DONE,
    LOST,
    Ack,
    Defer,
    Extended,
    ExtendResult,
    Release,
    Settled,
    SettlementKind,
    SettleResult,
)
from waybill.topology import Subscription
from waybill_embedded import claims, rows
from waybill_embedded.claims import Claimed, Group
from waybill_embedded.engine import Engine
from waybill_embedded.file import mapped
from waybill_embedded.groups import condition, create_group, decide, find, remove_group
from waybill_embedded.members import Members
from waybill_embedded.sink import bury_message

__all__ = ["FileSource", "Token", "receive", "take_back"]

PATIENCE = 1.0
"""Seconds between looks for members that have died; messages and due times wake a source by themselves."""
SWEEP = 60.0
"""Seconds between two looks for what the topic need not keep any longer."""


class Token(msgspec.Struct, eq=False, gc=False):
    """What settles a delivery: its place in the log, and the number its holder had. One of a kind."""

    seq: int
    member: int
    source: object = None
    """The mark of the source that handed it out."""
    settled: SettlementKind | None = None
    """What became of it, so that settling it twice is the same as once."""


class FileSource:
    """One subscription's share of the log."""

    def __init__(
        self, engine: Engine, members: Members, subscription: Subscription, clock: Clock, notify: Notify
    ) -> None:
        self._engine = engine
        self._members = members
        self._subscription = subscription
        self._clock = clock
        self._notify = notify
        self._mark: object = object()
        self._suspects: set[Token] = set()
        self._quiet = False
        self._looked = 0.0
        self._swept = 0.0
        self._keeps = False

    async def open(self) -> None:
        self._group = group = await self._engine.write(self._find_group)
        if not group.ordered:
            await self._engine.write(lambda c: claims.forget_keys(c, group))

    def _find_group(self, connection: sqlite3.Connection) -> Group:
        subscription = self._subscription
        if subscription.ephemeral:
            create_group(connection, subscription, member=self._members.doorbell)
        decide(connection, subscription)
        row = connection.execute(
            "SELECT t.id, g.id, g.filter, t.retention FROM groups g JOIN topics t ON t.id = g.topic WHERE t.name = ? AND g.name = ?",
            (subscription.topic.name, subscription.group),
        ).fetchone()
        if row is None:
            raise DestinationMissing(missing(subscription.name))
        topic, number, filtered, retention = row
        self._keeps = retention is not None
        return Group(topic, number, subscription.ordered, *condition(filtered))

    async def close(self) -> None:
        """Give back what is still held, also by a `receive` that was cut short."""
        self._quiet = True
        self._members.wake()
        member = self._members.id
        if self._subscription.ephemeral:
            await self._engine.write(lambda c: remove_group(c, self._group.id, member=self._members.doorbell))
        elif member and await self._engine.write(lambda c: claims.release_owner(c, member, group=self._group.id)):
            self._members.ring()
        self._mark = object()  # what was handed out until now can be settled no more

    # ---------------------------------------------------------------- receiving

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        return await receive(self, limit, self._members, self._clock, self._notify)

    @property
    def quiet(self) -> bool:
        return self._quiet

    async def look(self, limit: int) -> tuple[list[Delivery[Any]], float | None]:
        """What may be handed out now, and when the next becomes due. Does not wait."""
        await self._look_around()
        while True:
            with mapped(self._engine.location):
                something, due = claims.waiting(self._engine.reader, self._group, self._clock.time())
            deliveries, moved = await self._claim(limit) if something else ([], False)
            if deliveries or not moved or self._quiet:
                return deliveries, due

    async def quiesce(self) -> None:
        self._quiet = True
        self._members.wake()

    async def _claim(self, limit: int) -> tuple[list[Delivery[Any]], bool]:
        now = self._clock.time()
        lease = self._subscription.lease

        def work(connection: sqlite3.Connection) -> tuple[float, int, list[Claimed], bool]:
            lease_until = time.monotonic() + lease  # from here: it may have taken long to get the turn
            member = self._members.session(connection, lease)
            suspects = all(token.member != member for token in self._suspects)
            found = claims.claim(connection, self._group, owner=member, now=now, limit=limit, suspects=suspects)
            return lease_until, member, *found

        lease_until, member, claimed, moved = await self._engine.write(work)
        self._suspects = {
            token for token in self._suspects if token.member == member
        }  # others are lost with their number
        deliveries = [self._delivery(row, Token(row.seq, member, self._mark), lease_until) for row in claimed]
        self._suspects.update(delivery.token for delivery, row in zip(deliveries, claimed, strict=True) if row.crashes)
        return deliveries, moved

    def _delivery(self, row: Claimed, token: Token, lease_until: float) -> Delivery[Any]:
        topic = self._subscription.topic.name
        message = rows.read_any(row.message, row.body, number=row.seq, topic=topic, key=row.key)
        if row.first_failure is not None:
            first = datetime.fromtimestamp(row.first_failure, UTC)
            message = msgspec.structs.replace(message, first_failure=first)
        return Delivery(
            message=message,
            topic=topic,
            group=self._subscription.group,
            attempt=1 + max(row.attempts, message.attempts) + max(0, row.crashes - 1),
            redelivered=row.handed > 1,
            handed_out=row.handed,
            out_of_order=self._group.ordered and row.key is not None and row.lane is None,
            lease_until=lease_until,
            token=token,
        )

    async def _look_around(self) -> None:
        """Once in a while: is the group still there, and is anyone gone whose leases can be taken back?"""
        now = time.monotonic()
        if now - self._looked < PATIENCE:
            return
        self._looked = now
        group = self._group
        with mapped(self._engine.location):
            found = find(self._engine.reader, self._subscription.topic.name, self._subscription.group)
            keyed = not group.ordered and claims.has_keys(self._engine.reader, group)
        if found is None and not self._subscription.ephemeral:
            raise DestinationMissing(f"{self._subscription.name} was removed from this broker")
        if found is None:  # this member was taken for dead, and its group went with it
            self._group = group = await self._engine.write(self._find_group)
        if keyed:
            await self._engine.write(lambda c: claims.forget_keys(c, group))  # a member of before still ran it in order
        await take_back(self._engine, self._members)
        if self._keeps and now - self._swept > SWEEP:
            self._swept = now
            await self._engine.write(lambda c: claims.forget_old(c, group.topic, self._clock.time()))

    # ---------------------------------------------------------------- settling

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        results, rung = await self._engine.write(lambda connection: self._settle(connection, settled))
        for item, result in zip(settled, results, strict=True):
            if result is DONE:
                item.delivery.token.settled = type(item.settlement)
        if self._suspects:
            self._suspects.difference_update(item.delivery.token for item in settled)
        if rung:
            self._members.ring()
        else:
            self._members.wake()
        return results

    def _settle(self, connection: sqlite3.Connection, settled: Sequence[Settled]) -> tuple[list[SettleResult], bool]:
        """The results, and whether others may have something to claim now."""
        alive = self._members.alive(connection)
        if alive and not self._group.ordered and (seqs := self._acknowledged(settled)):
            claims.acknowledge(connection, self._group, seqs, self._clock.time())
            return [DONE] * len(settled), False
        results: list[SettleResult] = []
        acked: list[int] = []
        released: list[int] = []
        tried: list[tuple[int, int]] = []
        deferred: list[tuple[int, float, int, float | None, bool]] = []
        keys: set[str] = set()
        seen: dict[Token, SettlementKind] = {}
        for item in settled:
            token, settlement = item.delivery.token, item.settlement
            known = seen.get(token, token.settled)
            if known is not None or not alive or not self._ours(token):
                results.append(DONE if known is type(settlement) else LOST)
                continue
            results.append(DONE)
            seen[token] = type(settlement)
            if item.delivery.message.key is not None:
                keys.add(item.delivery.message.key)
            if isinstance(settlement, Ack):
                acked.append(token.seq)
            elif isinstance(settlement, Release):
                released.append(token.seq)
                if settlement.attempts is not None:
                    tried.append((settlement.attempts, token.seq))
            elif isinstance(settlement, Defer):
                due = self._clock.time() + settlement.after
                first = None if settlement.first_failure is None else settlement.first_failure.timestamp()
                deferred.append((token.seq, due, settlement.attempts, first, settlement.relaxed))
            else:
                letter = msgspec.structs.replace(item.delivery.message, due=None, dead=settlement.record)
                bury_message(connection, self._group.id, letter)
                acked.append(token.seq)
        if acked:
            claims.acknowledge(connection, self._group, acked, self._clock.time())
        if deferred:
            claims.defer(connection, self._group, deferred)
        if released:
            claims.release(connection, self._group, released, tried)
        promoted = bool(keys) and self._group.ordered and claims.promote(connection, self._group.id, keys)
        return results, bool(released) or promoted

    def _acknowledged(self, settled: Sequence[Settled]) -> Sequence[int] | None:
        """The numbers of all of them, if each is acknowledged, ours, and named once: the usual case, in a few steps."""
        tokens: list[Token] = [item.delivery.token for item in settled if type(item.settlement) is Ack]
        seqs = {token.seq for token in tokens if token.settled is None and self._ours(token)}
        return list(seqs) if len(seqs) == len(settled) else None

    def _ours(self, token: Token) -> bool:
        """Whether this source handed it out, under the number that this member still has."""
        return token.source is self._mark and token.member == self._members.id

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        lease_until = time.monotonic() + self._subscription.lease
        alive = await self._engine.write(lambda connection: self._members.renew(connection, lease_until))
        return [
            Extended(lease_until) if alive and self._ours(token) and token.settled is None else LOST
            for token in (delivery.token for delivery in deliveries)
        ]


class Looking(Protocol):
    """What `receive` asks again and again."""

    @property
    def quiet(self) -> bool: ...
    async def look(self, limit: int) -> tuple[list[Delivery[Any]], float | None]: ...


async def receive(
    source: Looking, limit: int, members: Members, clock: Clock, notify: Notify
) -> Sequence[Delivery[Any]]:
    """Look, and sleep until somebody rings or something is due, until there is something.

    Nothing, after a while in which it could look: that is how the core learns that what was raised before is over.
    """
    stalled = False
    end = time.monotonic() + PATIENCE
    while not source.quiet:
        due = None
        since = members.rung
        try:
            deliveries, due = await source.look(limit)
        except BrokerUnavailable as error:
            stalled = True
            notify(Stalled(str(error)))
        else:
            if stalled:
                stalled = False
                notify(Resumed())
            if deliveries or time.monotonic() > end:
                return deliveries
        if not source.quiet:
            pause = PATIENCE if due is None else max(due - clock.time(), 0.001)
            await members.wait(min(PATIENCE, pause), since)
    return ()


async def take_back(engine: Engine, members: Members) -> None:
    """Give out anew what members held that are dead or overdue."""
    with mapped(engine.location):
        if not members.gone(engine.reader) and not members.orphans(engine.reader):
            return

    def work(connection: sqlite3.Connection) -> bool:
        found = False
        members.forget_patterns(connection)
        for group, doorbell in members.orphans(connection):
            remove_group(connection, group, member=doorbell)
        for number, dead in members.gone(connection):
            found |= claims.release_owner(connection, number, crashed=dead)
            members.bury(connection, number, dead=dead)
        return found

    if await engine.write(work):
        members.ring()
