"""Groups that go with their process: queues of their own names, and what is left of those whose process has died."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

from waybill.addressing import stem
from waybill.errors import BrokerError
from waybill.foreign import NotPermitted
from waybill.topology import Subscription
from waybill_sqs import names
from waybill_sqs.client import Aws
from waybill_sqs.declaring import LONGEST_TAG, WHOSE, Hand
from waybill_sqs.layout import Layout

__all__ = ["passing_group", "sweep"]

log = logging.getLogger("waybill.sqs")

SEEN = "waybill-seen"
"""A tag with the time at which its process was last known to live."""
EVERY = 300.0
"""Seconds after which that is said again."""
GONE = 1800.0
"""Seconds after which who has said nothing is taken for dead."""


@asynccontextmanager
async def passing_group(aws: Aws, layout: Layout, subscription: Subscription) -> AsyncGenerator[None, None]:
    """Make the group for as long as the block lasts."""
    spec, group = subscription.topic, subscription.group
    hand = Hand(aws, layout)
    with suppress(NotPermitted):  # somebody else may look for what is left
        await sweep(aws, layout, subscription)
    queues = [layout.queue(spec, group), layout.dead(spec, group)]
    living: asyncio.Task[None] | None = None
    try:
        await hand.make_topic(spec)
        await hand.make_group(subscription, tags={SEEN: _now()})
        living = asyncio.get_running_loop().create_task(_live(aws, queues), name="waybill-sqs-living")
        yield
    finally:
        if living is not None:
            living.cancel()
        try:
            await hand.remove(spec, queues)
        except BrokerError as error:
            log.warning("%s could not be removed, and will be when it is next consumed: %s", subscription.name, error)


async def _live(aws: Aws, queues: list[str]) -> None:
    """Say again and again that the process lives. Never returns."""
    while True:
        for name in queues:
            try:
                url = await aws.url(name)
                await aws.sqs("tag_queue", f"cannot tag {name}", QueueUrl=url, Tags={SEEN: _now()})
            except BrokerError as error:
                log.debug("%s", error)
        await asyncio.sleep(EVERY)


def _now() -> str:
    return str(int(time.time()))


async def sweep(aws: Aws, layout: Layout, subscription: Subscription) -> None:
    """Remove what is left of this group's processes that have died."""
    spec = subscription.topic
    base = subscription.group.rpartition(".")[0]  # behind it stands what makes the group this process's own
    async for url in _queues(aws, names.stem_of(spec, f"{base}.", prefix=layout.table.prefix)):
        told = await aws.sqs("list_queue_tags", "cannot look for what is left", QueueUrl=url)
        tags: dict[str, str] = told.get("Tags") or {}
        seen = tags.get(SEEN, "")
        ours = tags.get(WHOSE, "").startswith(stem(f"{spec.name}/{base}.", LONGEST_TAG))
        if ours and seen.isdecimal() and time.time() - int(seen) > GONE:
            name = url.rpartition("/")[2]
            log.info("%s is left of a process that has died, and is removed", name)
            await Hand(aws, layout).remove(spec, [name])


async def _queues(aws: Aws, begin: str) -> AsyncIterator[str]:
    """The URLs of those that begin so."""
    more: dict[str, str] = {}
    while True:
        answer = await aws.sqs(
            "list_queues", "cannot look for what is left", QueueNamePrefix=begin, MaxResults=1000, **more
        )
        for url in answer.get("QueueUrls") or ():
            yield url
        if not (token := answer.get("NextToken")):
            return
        more = {"NextToken": token}
