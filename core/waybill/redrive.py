"""Dead letters once more: back to the group they failed in, away for good, or out to a file.

Whatever moves follows one order of work: the copy is confirmed at its new place before the letter is removed. What is
cut in between leaves both, a copy too many under the same id and never one too few.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from waybill.adapter import Adapter, Admin, MovesLetters, Sink, capabilities_of
from waybill.deadletters import again
from waybill.errors import BrokerError, ConfigurationError
from waybill.letters import record_of
from waybill.message import Delivery, Message
from waybill.outcomes import ACK, RELEASE, Confirmed, Refused, SendResult, Settled, Unknown
from waybill.pace import BATCH, Pace
from waybill.taking import Letters
from waybill.topology import Destination, Exactness, Subscription

__all__ = ["Discarded", "Redriven", "discard", "move", "redrive"]

log = logging.getLogger("waybill.redrive")

PATIENCE = 30.0
"""Seconds a copy is given to be confirmed."""
GIVE_UP = 3
"""Sends in a row of which the broker took nothing, for a reason that is not the letters'."""


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
    """Why the first was not sent."""
    gave_up: bool = False
    """The broker took nothing any more; the others were not tried."""


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

    Other groups see nothing. A copy keeps its id, counts one redrive more and has its attempts anew; it goes to the end
    of its key's line. A letter whose copy is not confirmed stays where it is.

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
        mover = _Mover(letters, sink, on_progress, ordered=subscription.ordered, one_by_one=one_by_one)
        try:
            while not mover.gave_up and (taken := await letters.take(pace.batch)) is not None:
                for start in range(0, len(taken), pace.chunk):
                    chunk = taken[start : start + pace.chunk]
                    await letters.pause(pace.next(len(chunk)))
                    await _finish(mover.move(chunk))
                    if mover.gave_up:
                        break
        finally:
            await letters.give_back()
    result = mover.result()
    on_progress(result)
    log.info("redrove %d dead letters of %s", result.sent, subscription.name)
    return result


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
                await _finish(remove(taken))
        finally:
            await letters.give_back()
    return Discarded(done, unremoved, letters.unwanted)


async def _there(admin: Admin, subscription: Subscription) -> int | None:
    """How many letters there are now, where the broker knows. Those that come back meanwhile are not taken again."""
    dead = (await admin.backlog(subscription)).dead
    return int(dead.value) if dead.value is not None and dead.exactness is Exactness.EXACT else None


async def _finish(work: Coroutine[Any, Any, None]) -> None:
    """Let `work` end, also when we are cancelled meanwhile: what was sent has to be removed. Twice cancelled leaves at once."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("interrupted, and what was under way failed: %s", error)
        raise


class _Mover:
    """Sends copies, removes the letters whose copies are confirmed, and counts."""

    def __init__(
        self,
        letters: Letters,
        sink: Sink,
        on_progress: Callable[[Redriven], None],
        *,
        ordered: bool,
        one_by_one: bool,
    ) -> None:
        self._letters = letters
        self._sink = sink
        self._on_progress = on_progress
        self._ordered = ordered
        self._one_by_one = one_by_one
        self._counts: Counter[str] = Counter()
        self._cause = ""
        self._stuck: set[str] = set()
        """Keys of which a letter stayed: their later ones must not pass it."""
        self._vain = 0
        self.gave_up = False

    def result(self) -> Redriven:
        count = self._counts
        return Redriven(
            sent=count["sent"],
            refused=count["refused"],
            unknown=count["unknown"],
            unremoved=count["unremoved"],
            unwanted=self._letters.unwanted,
            cause=self._cause,
            gave_up=self.gave_up,
        )

    async def move(self, chunk: Sequence[Delivery[Any]]) -> None:
        for wave in _waves(chunk) if self._one_by_one else [chunk]:
            await self._move([delivery for delivery in wave if self._letters.holds(delivery)])
        self._on_progress(self.result())

    async def _move(self, wave: Sequence[Delivery[Any]]) -> None:
        going = [delivery for delivery in wave if delivery.message.key not in self._stuck]
        results = await self._letters.keeping(self._send([again(delivery.message) for delivery in going]))
        settled = [Settled(delivery, RELEASE) for delivery in wave if delivery.message.key in self._stuck]
        self._counts["refused"] += len(settled)
        for delivery, result in zip(going, results, strict=True):
            if isinstance(result, Confirmed):
                self._counts["sent"] += 1
                settled.append(Settled(delivery, ACK))
                continue
            self._counts["refused" if isinstance(result, Refused) else "unknown"] += 1
            self._cause = self._cause or (result.reason if isinstance(result, Refused) else result.cause)
            if self._ordered and delivery.message.key is not None:
                self._stuck.add(delivery.message.key)
            settled.append(Settled(delivery, RELEASE))
        self._look_at(results)
        undone = await self._letters.settle(settled)
        self._counts["unremoved"] += sum(item.settlement is ACK for item in undone)

    async def _send(self, copies: Sequence[Message]) -> Sequence[SendResult]:
        if not copies:
            return ()
        try:
            return await self._sink.send(copies, deadline=asyncio.get_running_loop().time() + PATIENCE)
        except BrokerError as error:
            return [Unknown(str(error))] * len(copies)

    def _look_at(self, results: Sequence[SendResult]) -> None:
        """A broker that takes nothing for a reason of its own is not asked a thousand times."""
        if results:
            vain = all(isinstance(r, Unknown) or (isinstance(r, Refused) and r.transient) for r in results)
            self._vain = self._vain + 1 if vain else 0
            self.gave_up = self._vain >= GIVE_UP


def _waves(chunk: Sequence[Delivery[Any]]) -> list[list[Delivery[Any]]]:
    """One after another, none with two letters of one key, for a broker that may store one and not the one before it."""
    waves: list[list[Delivery[Any]]] = []
    seen: Counter[str] = Counter()
    for delivery in chunk:
        key = delivery.message.key
        number = 0 if key is None else seen[key]
        if key is not None:
            seen[key] += 1
        if number == len(waves):
            waves.append([])
        waves[number].append(delivery)
    return waves
