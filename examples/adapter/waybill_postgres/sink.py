"""The way in: a row for each message and group."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from waybill.clock import Clock
from waybill.errors import BrokerError, BrokerUnavailable, missing, unrouted
from waybill.message import Message
from waybill.outcomes import Confirmed, Refused, SendResult, Unknown
from waybill.topology import Destination
from waybill_postgres.link import Link
from waybill_postgres.rows import write

__all__ = ["TableSink"]

PLACE = """
    WITH targets AS (SELECT id FROM groups WHERE topic = $1 AND ($2::text IS NULL OR name = $2)),
         placed AS (
             INSERT INTO messages (grp, dead, key, due, attributes, body)
             SELECT t.id, $3, m.key, now() + m.delay, m.attributes, m.body
             FROM targets t, unnest($4::bytea[], $5::interval[], $6::bytea[], $7::bytea[])
                  WITH ORDINALITY AS m (key, delay, attributes, body, place)
             ORDER BY m.place)
    SELECT pg_notify(current_schema(), id::text) FROM targets"""

Row = tuple[bytes | None, timedelta, bytes, bytes | None]


class TableSink:
    """One destination. All groups have a message when its transaction is committed, or none has."""

    def __init__(self, link: Link, destination: Destination, clock: Clock) -> None:
        self._link = link
        self._destination = destination
        self._clock = clock

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        rows = [self._row(message) for message in messages]
        sound = [row for row in rows if not isinstance(row, Refused)]
        outcome = await self._place(sound, deadline) if sound else None
        return [
            row if isinstance(row, Refused) else outcome or Confirmed(message.id)
            for message, row in zip(messages, rows, strict=True)
        ]

    def _row(self, message: Message) -> Row | Refused:
        """One that cannot be written takes no neighbour down with it."""
        try:
            key = None if message.key is None or self._destination.kind == "dead" else message.key.encode()
            return key, self._delay(message), write(message), message.body
        except (ValueError, TypeError) as error:
            return Refused(f"the message cannot be written: {error}")

    def _delay(self, message: Message) -> timedelta:
        """`due` is by the clock of who publishes; the server counts from its own."""
        seconds = 0.0 if message.due is None else message.due.timestamp() - self._clock.time()
        return timedelta(seconds=max(0.0, seconds))

    async def _place(self, rows: Sequence[Row], deadline: float) -> Refused | Unknown | None:
        """What became of all of them, where they were not stored."""
        to, clock = self._destination, asyncio.get_running_loop().time
        try:
            await self._link.open(within=deadline - clock())
        except BrokerError as error:
            return Refused(str(error), transient=True)
        try:
            columns = map(list, zip(*rows, strict=True))
            values = (to.topic.name, to.group, to.kind == "dead", *columns)
            if await self._link.ask("storing messages", PLACE, *values, within=deadline - clock()):
                return None
            if not await self._link.ask("finding a topic", "SELECT 1 FROM topics WHERE name = $1", to.topic.name):
                return Refused(missing(to.name))
        except BrokerUnavailable as error:
            return Unknown(str(error))
        except BrokerError as error:  # the server said no, and a transaction that failed left nothing behind
            return Refused(str(error))
        if to.group is not None:
            return Refused(missing(to.name))
        return None if to.topic.accept_unrouted else Refused(unrouted(to.topic.name))
