"""Fetching for one member: no more than there is room for, and past what nobody can read where that is wanted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from waybill.foreign import said
from waybill.settling import back_off
from waybill_kafka import client
from waybill_kafka.client import Consumer, KafkaError, TopicPartition, Unreadable
from waybill_kafka.options import BrokerTable
from waybill_kafka.part import Part

__all__ = ["FETCH_MS", "Pump"]

log = logging.getLogger("waybill.kafka")

FETCH_MS = 500
"""How long the broker waits for something to come."""
BRISK_MS = 50
"""And while another partition is soon to be read on: the library asks a server for one thing at a time."""
AT_ONCE = 500
"""Records that are taken from the library at once."""
MOST = 2000
"""Records of one partition that wait here."""
MOST_FETCHES = 4
"""And of all together: so many times `fetch_bytes`."""
RETRY = 30.0
"""Seconds until a partition that cannot be read is tried again."""


class Pump:
    """Runs until it is cancelled."""

    def __init__(
        self,
        consumer: Consumer,
        parts: Mapping[TopicPartition, Part],
        table: BrokerTable,
        *,
        window: int,
        on_news: Callable[[], None],
        tell: Callable[[str, str | None], None],
    ) -> None:
        """`tell`: a matter, and what is wrong about it; `None`: nothing any more."""
        self._consumer = consumer
        self._parts = parts
        self._table = table
        self._window = window
        self._on_news = on_news
        self._tell = tell
        self._room = asyncio.Event()

    def wake(self) -> None:
        """Something was handed out or settled. A partition that has room again is read on at once, not after the fetch
        of the others that waits for something to come."""
        for part in self._parts.values():
            if part.paused and part.stuck is None:
                self._resume(part)
        if not self._room.is_set():
            self._room.set()

    async def run(self) -> None:
        failures = 0
        while True:
            if not self._hungry():
                self._room.clear()
                await self._room.wait()
                continue
            try:
                await self._fetch()
            except (KafkaError, OSError, RuntimeError) as error:
                failures += 1
                if not self._stuck(error):
                    self._tell("fetch", f"cannot fetch: {said(error)}")
                    await asyncio.sleep(back_off(failures))
            else:
                failures = 0
                self._tell("fetch", None)

    async def _fetch(self) -> None:
        fetched = await self._consumer.getmany(timeout_ms=FETCH_MS, max_records=AT_ONCE)
        for tp, records in fetched.items():
            if (part := self._parts.get(tp)) is not None:
                part.fetch(records)
        if fetched:
            self._on_news()

    def _stuck(self, error: BaseException) -> bool:
        """Go on behind what nobody can read, or leave its partition aside for a while. `False`: it is not of one partition."""
        tp = getattr(error, "partition", None)
        part = None if tp is None else self._parts.get(tp)
        if part is None or part.tp not in self._consumer.assignment():
            return False
        where = said(error) if isinstance(error, Unreadable) else f"{part.name} cannot be fetched: {said(error)}"
        if isinstance(error, Unreadable) and self._table.skip_unreadable:
            log.error("%s: skipped, up to offset %d", where, error.end)
            self._consumer.seek(part.tp, error.end)
            return True
        if part.stuck is None:
            log.error(
                "%s. What is behind it waits; other partitions go on. To go on behind it, set skip_unreadable = true",
                where,
            )
        part.stuck = asyncio.get_running_loop().time() + RETRY
        self._tell(part.name, where)
        self._consumer.pause(part.tp)
        part.paused = True
        return True

    def _hungry(self) -> bool:
        """Whether more is to be fetched. A partition that is full is paused, so that it does not hold up the others."""
        waiting = size = 0
        assigned = self._consumer.assignment()
        begun = client.begun(self._consumer)
        brisk = False
        for tp, part in self._parts.items():
            if tp not in assigned:
                continue
            if part.stuck is not None:
                self._retry(part)
            elif part.paused:
                self._resume(part)
            elif (part.blocked or self._is_full(part)) and tp not in begun:  # what is left of a fetch would come again
                part.paused = True
                self._consumer.pause(tp)
            size += part.bytes
            waiting += 0 if part.paused else len(part.fetched)
            brisk = brisk or self._goes_on(part)
        client.wait_at_most(self._consumer, BRISK_MS if brisk else FETCH_MS)
        return waiting < max(MOST, 2 * self._window) and size < MOST_FETCHES * self._table.fetch_bytes

    def _is_full(self, part: Part) -> bool:
        return len(part.fetched) > MOST or part.bytes > self._table.fetch_bytes

    def _goes_on(self, part: Part) -> bool:
        """Whether it is being handled, and there is more of it on the broker."""
        if not part.fetched or part.blocked:
            return False
        end = self._consumer.highwater(part.tp)
        return end is not None and part.fetched[-1].offset + 1 < end

    def _resume(self, part: Part) -> None:
        if part.blocked:
            self._tell(part.name, f"{part.name}: all waits for the message at offset {part.marks.offset}")
        elif (
            len(part.fetched) < MOST * 3 // 4
            and part.bytes <= self._table.fetch_bytes * 3 // 4
            and part.marks.span <= part.most * 3 // 4
            and part.tp in self._consumer.assignment()
        ):
            part.paused = False
            self._tell(part.name, None)
            self._consumer.resume(part.tp)

    def _retry(self, part: Part) -> None:
        if part.stuck is not None and part.stuck < asyncio.get_running_loop().time():
            part.stuck = None
            part.paused = False
            self._tell(part.name, None)
            self._consumer.resume(part.tp)
