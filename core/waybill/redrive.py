"""Dead letters once more: back to the group they failed in, away for good, or out to a file.

Whatever moves follows one order of work: the copy is confirmed at its new place before the letter is removed. What is
cut in between leaves both, a copy too many under the same id and never one too few.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from waybill.adapter import Adapter, Admin, MovesLetters, capabilities_of
from waybill.deadletters import again
from waybill.errors import ConfigurationError
from waybill.ids import new_id
from waybill.letters import record_of
from waybill.message import Delivery, Message
from waybill.moving import Mover, finish
from waybill.outcomes import ACK, Settled
from waybill.pace import BATCH, Pace
from waybill.taking import Letters
from waybill.topology import Destination, Exactness, Subscription

__all__ = ["Discarded", "Redriven", "discard", "move", "redrive"]

log = logging.getLogger("waybill.redrive")


class Redriven(msgspec.Struct, frozen=True):
    """What became of one group's dead letters."""

    sent: int = 0
    """Confirmed in the group's own inbox."""
    refused: int = 0
    """Certainly not there, and dead letters still."""
    unknown: int = 0
    """May be there, and dead letters still: a redrive of them may make a second copy of the same id."""
    unremoved: int = 0
    """Of `sent`, those that may be dead letters still, since the broker did not say that they were removed."""
    unwanted: int = 0
    """Looked at and left."""
    cause: str = ""
    """Why the first was not sent, or not removed."""
    gave_up: bool = False
    """The broker took no copies any more, or removed no letters; the others were not tried."""


class Discarded(msgspec.Struct, frozen=True):
    """What became of one group's dead letters."""

    discarded: int = 0
    unremoved: int = 0
    """To be discarded, and perhaps there still, since the broker did not say that they were removed."""
    unwanted: int = 0
    """Looked at and left."""


async def redrive(
    adapter: Adapter,
    subscription: Subscription,
    wanted: Callable[[Message], bool],
    *,
    rate: float | None = None,
    limit: int | None = None,
    on_progress: Callable[[Redriven], None] = lambda _: None,
) -> Redriven:
    """Send the dead letters that the group has now, and that are `wanted`, to that group once more.

    Other groups see nothing. A copy keeps its id, counts one redrive more, names this redrive (`Message.redrive`) and has
    its attempts anew; it goes to the end of its key's line. A letter whose copy is not confirmed stays where it is.
    Nothing is written down: `waybill.dlq.running` carries out what can be gone on with.

    rate: letters per second at most; `None` for as many as the broker takes. limit: send at most so many, the oldest
    first. on_progress: called after each send with what has become of them so far.

    Cancelled, it ends what is being sent and gives back the rest. Raises `ConfigurationError` for a rate or limit below
    one letter, `BrokerError` when letters cannot be taken.
    """
    pace = Pace(rate, of="letters")
    inbox = Destination("group", subscription.topic, subscription.group)
    there = await _there(adapter.admin, subscription)
    async with adapter.dead_letters(subscription) as source, adapter.sink(inbox) as sink:
        letters = Letters(source, subscription, wanted, there=there, limit=limit)
        one_by_one = subscription.ordered and not capabilities_of(adapter, subscription.topic).sends_in_order
        copy = partial(again, redrive=new_id())
        mover = Mover(letters, sink, copy, ordered=subscription.ordered, one_by_one=one_by_one)

        def result() -> Redriven:
            return Redriven(
                **msgspec.structs.asdict(mover.moved), unwanted=letters.unwanted, gave_up=bool(mover.gave_up)
            )

        try:
            while not mover.gave_up and (taken := await letters.take(pace.batch)) is not None:
                for start in range(0, len(taken), pace.chunk):
                    chunk = taken[start : start + pace.chunk]
                    await letters.pause(pace.next(len(chunk)))
                    await finish(mover.move(chunk))
                    on_progress(result())
                    if mover.gave_up:
                        break
        finally:
            on_progress(result())  # also of what was under way when we were cancelled
            await letters.give_back()
    redriven = result()
    log.info("redrove %d dead letters of %s", redriven.sent, subscription.name)
    return redriven


async def move(
    adapter: Adapter,
    subscription: Subscription,
    *,
    rate: float | None = None,
    on_progress: Callable[[Redriven], None] = lambda _: None,
) -> Redriven:
    """Have the broker itself move all dead letters of the group back to it, where it can: nobody reads them, and none is chosen.

    They keep their ids, count one redrive more and have their attempts anew, as with `redrive`. One that fails again
    meanwhile may be moved again. The figures are the broker's, about. rate: letters per second at most.

    Cancelled, it has the broker stop. Raises `ConfigurationError` where the broker cannot, `BrokerError`.
    """
    if not isinstance(adapter, MovesLetters):
        raise ConfigurationError(
            f"{adapter.capabilities.broker} moves no dead letters by itself: redrive without --native"
        )
    moved = await adapter.move_letters(subscription, rate=rate, note=lambda number: on_progress(Redriven(sent=number)))
    on_progress(Redriven(sent=moved))
    log.info("the broker moved %d dead letters of %s", moved, subscription.name)
    return Redriven(sent=moved)


async def discard(
    adapter: Adapter,
    subscription: Subscription,
    wanted: Callable[[Message], bool],
    *,
    reason: str,
    limit: int | None = None,
    on_progress: Callable[[Discarded], None] = lambda _: None,
) -> Discarded:
    """Remove the dead letters that the group has now, and that are `wanted`, for good.

    reason: why, for those who look for them one day; it is logged with each id before the letter goes. limit: at most so
    many, the oldest first. on_progress: called after each batch. Raises `ConfigurationError` for a limit below 1 or no
    reason, `BrokerError` when letters cannot be taken.
    """
    if not reason.strip():
        raise ConfigurationError("reason: say why these dead letters are discarded")
    there = await _there(adapter.admin, subscription)
    done = unremoved = 0
    async with adapter.dead_letters(subscription) as source:
        letters = Letters(source, subscription, wanted, there=there, limit=limit)

        async def remove(taken: Sequence[Delivery[Any]]) -> None:
            nonlocal done, unremoved
            for delivery in taken:
                died = record_of(subscription, delivery.message).reason
                log.info("discarding %s of %s (%s): %s", delivery.message.id, subscription.name, died, reason)
            undone = await letters.settle([Settled(delivery, ACK) for delivery in taken])
            unremoved += len(undone)
            done += len(taken) - len(undone)
            on_progress(Discarded(done, unremoved, letters.unwanted))

        try:
            while (taken := await letters.take(BATCH)) is not None:
                await finish(remove(taken))
        finally:
            await letters.give_back()
    return Discarded(done, unremoved, letters.unwanted)


async def _there(admin: Admin, subscription: Subscription) -> int | None:
    """How many letters there are now, where the broker knows. Those that come back meanwhile are not taken again."""
    dead = (await admin.backlog(subscription)).dead
    return int(dead.value) if dead.value is not None and dead.exactness is Exactness.EXACT else None
