"""Dead letters once more: back to the group they failed in, away for good, or out to a file.

Whatever moves follows one order of work: the copy is confirmed at its new place before the letter is removed. What is
cut in between leaves both, a copy too many under the same id and never one too few.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec

from waybill.adapter import Adapter, Admin, Sink, Source
from waybill.errors import BrokerError, ConfigurationError
from waybill.letters import record_of
from waybill.message import Delivery, Message
from waybill.outcomes import ACK, RELEASE, Confirmed, Done, Failed, Lost, Refused, SendResult, Settled, Unknown
from waybill.settling import back_off
from waybill.topology import Destination, Exactness, Subscription

__all__ = ["Discarded", "Redriven", "discard", "redrive"]

log = logging.getLogger("waybill.redrive")

T = TypeVar("T")

BATCH = 500
"""Letters taken, sent or read at once."""
TURN = 10.0
"""Seconds that sending one batch may take at the wanted rate; a smaller one is taken where it would take longer."""
TICK = 0.1
"""Seconds' worth of letters sent together where there is a rate."""
SLACK = 0.25
"""Seconds' worth of letters that may be caught up after the broker was slow; beyond that they would come as a burst."""
PATIENCE = 30.0
"""Seconds a copy is given to be confirmed."""
TRIES = 5
"""Times a settlement is asked for before it counts as not done."""
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
    if rate is not None and not 0 < rate < float("inf"):
        raise ConfigurationError(f"rate={rate!r}: letters per second, above 0; None for no limit")
    inbox = Destination("group", subscription.topic, subscription.group)
    there = await _there(adapter.admin, subscription)
    async with adapter.dead_letters(subscription) as source, adapter.sink(inbox) as sink:
        letters = _Letters(source, subscription, wanted, there=there, limit=limit)
        one_by_one = subscription.ordered and not adapter.capabilities.sends_in_order
        mover = _Mover(letters, sink, on_progress, ordered=subscription.ordered, one_by_one=one_by_one)
        pace = _Pace(rate)
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
        letters = _Letters(source, subscription, wanted, there=there, limit=limit)

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


class _Letters:
    """One group's dead letters, in batches, and the leases of those that are held."""

    def __init__(
        self,
        source: Source,
        subscription: Subscription,
        wanted: Callable[[Message], bool],
        *,
        there: int | None,
        limit: int | None,
    ) -> None:
        if limit is not None and limit < 1:
            raise ConfigurationError(f"limit={limit}: at least 1; None for all")
        self._source = source
        self._wanted = wanted
        self._there = float("inf") if there is None else there
        self._room = float("inf") if limit is None else limit
        self._every = subscription.lease / 3
        self._held: dict[Any, Delivery[Any]] = {}
        self._renew_at = 0.0
        self._now = asyncio.get_running_loop().time
        self.unwanted = 0

    async def take(self, size: int) -> list[Delivery[Any]] | None:
        """The next that are wanted, perhaps none; `None` when all have been looked at, or enough were taken."""
        size = int(min(size, self._there))
        if size <= 0 or self._room <= 0:
            return None
        deliveries = await self._source.receive(size)
        if not deliveries:
            return None
        if not self._held:
            self._renew_at = self._now() + self._every
        self._held.update((delivery.token, delivery) for delivery in deliveries)
        self._there -= len(deliveries)
        chosen: list[Delivery[Any]] = []
        others: list[Delivery[Any]] = []
        for delivery in deliveries:
            (chosen if len(chosen) < self._room and self._wanted(delivery.message) else others).append(delivery)
        self._room -= len(chosen)
        self.unwanted += len(others)
        await self.settle([Settled(delivery, RELEASE) for delivery in others])
        return chosen

    def holds(self, delivery: Delivery[Any]) -> bool:
        return delivery.token in self._held

    async def settle(self, settled: Sequence[Settled]) -> list[Settled]:
        """Settle, and ask again where the broker did not answer. Gives those of which it is not known to be done."""
        waiting, lost = list(settled), list[Settled]()
        for tried in range(1, TRIES + 1):
            if not waiting:
                break
            try:
                results = await self._source.settle(waiting)
            except BrokerError as error:
                results = [Failed(str(error))] * len(waiting)
            pairs = list(zip(waiting, results, strict=True))
            lost += [item for item, result in pairs if isinstance(result, Lost)]
            waiting = [item for item, result in pairs if not isinstance(result, Done | Lost)]
            if waiting and tried < TRIES:
                await asyncio.sleep(back_off(tried))
        for item in settled:
            self._held.pop(item.delivery.token, None)
        return lost + waiting

    async def give_back(self) -> None:
        await self.settle([Settled(delivery, RELEASE) for delivery in self._held.values()])

    async def pause(self, until: float) -> None:
        """Wait until then, on the loop's clock, and keep what is held."""
        while (now := self._now()) < until:
            await asyncio.sleep(max(0.0, min(until, self._renew_at) - now))
            await self._renew()
        await self._renew()

    async def keeping(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work`, and keep what is held meanwhile."""
        task = asyncio.ensure_future(work)
        while not (await asyncio.wait([task], timeout=max(0.0, self._renew_at - self._now())))[0]:
            await self._renew()
        return task.result()

    async def _renew(self) -> None:
        if not self._held or self._now() < self._renew_at:
            return
        self._renew_at = self._now() + self._every
        held = list(self._held.values())
        try:
            results = await self._source.extend(held)
        except BrokerError as error:
            log.warning("the leases of %d dead letters could not be renewed: %s", len(held), error)
            return
        for delivery, result in zip(held, results, strict=True):
            if isinstance(result, Lost):
                del self._held[delivery.token]  # somebody else takes it: a copy of ours would be one too many


class _Mover:
    """Sends copies, removes the letters whose copies are confirmed, and counts."""

    def __init__(
        self,
        letters: _Letters,
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
        results = await self._letters.keeping(self._send([_copy(delivery.message) for delivery in going]))
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


class _Pace:
    """When the next letters may go. The n-th goes n / rate seconds after the start, and not before."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._now = asyncio.get_running_loop().time
        self._due = self._now()
        self.chunk = BATCH if rate is None else max(1, min(BATCH, int(rate * TICK)))
        self.batch = BATCH if rate is None else max(1, min(BATCH, int(rate * TURN)))

    def next(self, count: int) -> float:
        """When `count` more may go, on the loop's clock."""
        if self._rate is not None:
            self._due = max(self._due, self._now() - SLACK) + count / self._rate
        return self._due


def _copy(message: Message) -> Message:
    """The message as it was when it was new to the group, but for the count of redrives."""
    return msgspec.structs.replace(
        message, redrives=message.redrives + 1, attempts=0, dead=None, first_failure=None, due=None
    )


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
