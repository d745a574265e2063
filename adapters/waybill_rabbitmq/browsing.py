"""Looking at a group's dead letters, which takes all of them for a moment.

A quorum queue shows nothing to who does not fetch, and gives what is returned its place behind what was returned before:
so whoever wants to leave the order as it is fetches everything, and gives it back at once. The pages of one look come
from what was fetched for the first.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime

from waybill.adapter import Page
from waybill.browsing import Look, Looks
from waybill.clock import Clock
from waybill.message import Message
from waybill.topology import Subscription
from waybill_rabbitmq import headers, names
from waybill_rabbitmq.client import Delivered, RawHeader
from waybill_rabbitmq.declaring import Hand
from waybill_rabbitmq.line import Line
from waybill_rabbitmq.mapping import mapped

__all__ = ["Browser"]

MOST = 10_000
MOST_BYTES = 256 << 20
"""Letters, and bytes of them, that one look shows; the oldest."""
QUIET = 0.5
"""Seconds without another dead letter after which there is none to be seen."""
BACK = 1.0
"""Seconds that the broker is given to have them back in their place."""


class Browser:
    """One application's looks."""

    def __init__(self, line: Line, clock: Clock) -> None:
        self._line = line
        self._clock = clock
        self._looks: Looks[tuple[bytes, bytes]] = Looks()

    async def page(self, subscription: Subscription, after: str | None, limit: int) -> Page:
        """See `Looks.page`."""
        received = datetime.fromtimestamp(self._clock.time(), UTC)

        def read(letter: tuple[bytes, bytes]) -> Message:
            raw, body = letter
            return headers.read(raw, body, subscription=subscription, received=received, dead=True)[0]

        return await self._looks.page(after, limit, look=lambda: self._look(subscription), read=read)

    async def _look(self, subscription: Subscription) -> Look[tuple[bytes, bytes]]:
        queue = names.dead(subscription.topic, subscription.group)
        async with Hand(self._line) as hand:
            there = await hand.queue(queue)
            if there is None or not there.messages:
                return Look([], complete=there is None or not there.consumers)
            wanted = min(there.messages, MOST)
            letters = await self._fetch(queue, wanted)
            end = time.monotonic() + BACK
            while (found := await hand.queue(queue)) is not None and found.messages < there.messages:
                if time.monotonic() > end:
                    break  # somebody else has taken some
                await asyncio.sleep(0.005)
        # a quorum queue counts who has cancelled, too, as long as he holds some
        return Look(letters, complete=not there.consumers and len(letters) == there.messages)

    async def _fetch(self, queue: str, wanted: int) -> list[tuple[bytes, bytes]]:
        letters: list[tuple[bytes, bytes]] = []
        size = 0
        full = asyncio.Event()

        def deliver(_: Delivered, header: RawHeader, body: bytes) -> None:
            nonlocal size
            if size < MOST_BYTES:
                letters.append((header.raw, body))
            size += len(body)
            if len(letters) >= wanted or size >= MOST_BYTES:
                full.set()

        channel = await self._line.channel()
        try:
            with mapped(f"cannot look at {queue}"):
                await channel.basic_qos(prefetch_count=wanted)
                await channel.consume(queue, deliver, tag="look")
                while not full.is_set():  # others may have taken what was there
                    before = len(letters)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(QUIET):
                            await full.wait()
                    if len(letters) == before:
                        break
        finally:
            with mapped("cannot close a channel"):
                await channel.close()
        return letters
