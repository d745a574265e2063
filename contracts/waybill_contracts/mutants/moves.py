"""What several mutants do."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from waybill.adapter import Source
from waybill.errors import BrokerError
from waybill.message import Delivery, Message
from waybill.outcomes import ACK, Confirmed, Extended, ExtendResult, SendResult, Settled, SettlementKind

__all__ = ["acknowledge", "confirmed", "in_background", "insist", "parted", "renewed"]

UNDER_WAY: set[asyncio.Future[None]] = set()


def confirmed(messages: Sequence[Message]) -> Sequence[SendResult]:
    """Each of them, whatever has become of it."""
    return [Confirmed(message.id) for message in messages]


def renewed(deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
    """Each of them for an hour, whatever the broker knows of that."""
    return [Extended(asyncio.get_running_loop().time() + 3600)] * len(deliveries)


def parted(settled: Sequence[Settled], kind: SettlementKind) -> tuple[list[Settled], list[Settled]]:
    """Those whose settlement is of that kind, and the others."""
    chosen = [item for item in settled if isinstance(item.settlement, kind)]
    return chosen, [item for item in settled if not isinstance(item.settlement, kind)]


def in_background(work: Coroutine[Any, Any, None]) -> None:
    """Begin it, and wait for it nowhere."""
    task = asyncio.ensure_future(work)
    UNDER_WAY.add(task)
    task.add_done_callback(UNDER_WAY.discard)


async def acknowledge(source: Source, deliveries: Sequence[Delivery[Any]]) -> None:
    """Settle them as if they had been handled."""
    if deliveries:
        await source.settle([Settled(delivery, ACK) for delivery in deliveries])


async def insist(source: Source, settled: Sequence[Settled]) -> None:
    """Settle them again and again, until the broker takes it."""
    while True:
        try:
            await source.settle(settled)
        except BrokerError:
            await asyncio.sleep(0.01)
        else:
            return
