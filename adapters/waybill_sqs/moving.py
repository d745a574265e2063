"""SQS's own move task: all dead letters of a group back to its queue, unread, whatever becomes of us."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from waybill.errors import BrokerError, ConfigurationError, DestinationMissing, missing
from waybill.topology import Subscription
from waybill_sqs.client import Aws
from waybill_sqs.layout import Layout

__all__ = ["move"]

MOST_RATE = 500
"""Letters a second that SQS lets a task be asked for."""
EVERY = 0.5
"""Seconds after which a task is looked at again."""


async def move(
    aws: Aws, layout: Layout, subscription: Subscription, *, rate: float | None, note: Callable[[int], None]
) -> int:
    """See `waybill.adapter.MovesLetters`."""
    _check(layout, subscription, rate)
    where = subscription.topic, subscription.group
    dead, queue = layout.dead(*where), layout.queue(*where)
    given: dict[str, Any] = {} if rate is None else {"MaxNumberOfMessagesPerSecond": int(rate)}
    try:
        source = await _arn(aws, dead)
        begun = await aws.sqs(
            "start_message_move_task",
            f"cannot have the dead letters of {subscription.name} moved",
            SourceArn=source,
            DestinationArn=await _arn(aws, queue),
            **given,
        )
    except DestinationMissing as error:
        raise DestinationMissing(missing(subscription.name)) from error
    try:
        return await _watched(aws, source, subscription.name, note)
    except asyncio.CancelledError:
        with suppress(BrokerError):  # it may have ended
            await aws.sqs("cancel_message_move_task", f"cannot stop what moves {dead}", TaskHandle=begun["TaskHandle"])
        raise


def _check(layout: Layout, subscription: Subscription, rate: float | None) -> None:
    if layout.kind(subscription.topic).fifo:
        raise ConfigurationError(
            f"{subscription.name}: in a FIFO queue each dead letter is a group of its own, and SQS would leave it so, past its "
            f"key's order: redrive without --native"
        )
    if rate is not None and not 1 <= rate <= MOST_RATE:
        raise ConfigurationError(
            f"rate: {rate:g}; SQS moves 1 to {MOST_RATE} letters a second: redrive without --native"
        )


async def _arn(aws: Aws, queue: str) -> str:
    url = await aws.url(queue)
    answer = await aws.sqs("get_queue_attributes", f"cannot look at {queue}", QueueUrl=url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])


async def _watched(aws: Aws, source: str, name: str, note: Callable[[int], None]) -> int:
    """How many it has moved when it has ended."""
    while True:
        answer = await aws.sqs(
            "list_message_move_tasks", f"cannot see how far the letters of {name} are", SourceArn=source, MaxResults=1
        )
        task = answer["Results"][0]
        moved = int(task.get("ApproximateNumberOfMessagesMoved") or 0)
        note(moved)
        if task["Status"] == "COMPLETED":
            return moved
        if task["Status"] in {"FAILED", "CANCELLED"}:
            why = task.get("FailureReason") or "somebody has stopped it"
            raise BrokerError(f"SQS has moved {moved} dead letters of {name}, and then no more: {why}")
        await asyncio.sleep(EVERY)
