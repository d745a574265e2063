"""What a consumer holds and no handler has: which of it starts next, and giving back what is not going to start here.

It waits in the lanes; a failed delivery of an ordered key waits outside, its lane closed, until its retry. What is given
back goes in order, and with a delivery of an ordered key goes all that is behind it: that would overtake it otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from waybill.clock import Clock
from waybill.holding import Held, Window
from waybill.judging import expired
from waybill.lanes import Lanes
from waybill.options import Batch
from waybill.outcomes import Defer
from waybill.settling import Settler

__all__ = ["Waiting"]


class Waiting:
    """The deliveries of one consumer that have not started: `add` what came, `next` for a handler, `done` when it ended."""

    def __init__(
        self,
        window: Window,
        settler: Settler,
        clock: Clock,
        *,
        ordered: bool,
        batch: Batch | None,
        on_ready: Callable[[], None],
    ) -> None:
        """`on_ready`: called when time alone has made something ready: a batch waited long enough, or a retry is due."""
        self._window = window
        self._settler = settler
        self._clock = clock
        self._batch = batch
        self._on_ready = on_ready
        self._lanes: Lanes[Held] = Lanes(ordered=ordered)
        self._gathering: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    # ---------------------------------------------------------------- what starts

    def add(self, held: Held) -> None:
        """A new one, behind all of its lane; or given back, if its lane is on its way back: it comes after that."""
        if not self._lanes.add(held.lane, held):
            self.release(held)

    @property
    def ready(self) -> int:
        """How many may start now."""
        return self._lanes.ready

    def next(self, now: float) -> Sequence[Held]:
        """What the next handler is for: one delivery, or a batch. Empty: nothing may start now."""
        if self._batch is not None:
            return self._gather(self._batch, now)
        while (held := self._lanes.take()) is not None:
            if self._is_worth(held, now):
                return (held,)
        return ()

    def done(self, key: str | None) -> None:
        """The handling of this lane has ended: the next of the lane may start."""
        self._lanes.done(key)

    def retry(self, held: Held, settlement: Defer) -> None:
        """A failed delivery of an ordered key waits here, its lane closed and its lease renewed, and starts once more."""
        message = msgspec.structs.replace(held.delivery.message, first_failure=settlement.first_failure)
        held.delivery = msgspec.structs.replace(
            held.delivery,
            attempt=settlement.attempts + 1,
            message=message,
            _value=msgspec.UNSET,  # what the failed handler did to the value is not seen by the next
        )
        held.tried = True
        held.ordinals = None
        self._loop.call_later(settlement.after, self._again, held)

    def _again(self, held: Held) -> None:
        if held in self._window.held and held.outcome is None and not held.lost:
            self._lanes.again(held.lane, held)
            self._on_ready()

    def _gather(self, wanted: Batch, now: float) -> Sequence[Held]:
        first = self._lanes.next
        if first is None or not self._is_enough(wanted, first, now):
            return ()
        batch: list[Held] = []
        while len(batch) < wanted.size and (following := self._lanes.next) is not None:
            alone = following.delivery.attempt > 1  # it failed: so that it can be told from those it was with
            if alone and batch:
                break
            self._lanes.take()
            if self._is_worth(following, now):
                batch.append(following)
                if alone:
                    break
        return batch

    def _is_enough(self, wanted: Batch, first: Held, now: float) -> bool:
        """Whether a batch is to be started now; if not, a timer looks again."""
        if first.delivery.attempt > 1 or self._lanes.ready >= wanted.size or self._window.full:
            return True
        left = first.since + wanted.pause - now
        if left > 0 and self._gathering is None:
            self._gathering = self._loop.call_later(left, self._gathered)
        return left <= 0

    def _gathered(self) -> None:
        self._gathering = None
        self._on_ready()

    def _is_worth(self, held: Held, now: float) -> bool:
        """Whether a handler is to be started for it still; if not, it is settled."""
        if held.lease_until < now:  # stopped or stalled meanwhile: by now it may be somebody else's
            self.release(held)
            if held.lane is not None:
                self.give_back_lane(held.lane)
            return False
        if held.delivery.message.expires and (settlement := expired(held.delivery, self._clock.time())):
            self._settler.add(held, settlement)
            self._lanes.done(held.lane)
            return False
        return True

    # ---------------------------------------------------------------- what is given back

    def give_back(self, held: Held) -> None:
        """It, and all that cannot start without it."""
        for item in self._evict(held):
            self.release(item)

    def give_back_followers(self, key: str) -> None:
        """All that waits in the lane of a started delivery. The lane stays closed: what still comes waits in it."""
        for follower in self._lanes.waiting(key):
            self.release(follower)

    def give_back_lane(self, key: str) -> None:
        """The lane ends: all that waits in it. Whoever gets its head next handles that before what is behind it."""
        for follower in self._lanes.clear(key):
            self.release(follower)

    def give_back_all(self) -> None:
        """All, except what waits behind a handler that runs: it is given back after its head."""
        busy = {held.lane for held in self._window.held if held.run is not None} - {None}
        for held in list(self._window.held):
            if held.waits and held.lane not in busy:
                self.give_back(held)

    def forget(self, held: Held) -> None:
        """It is no longer ours: nothing is settled for it, and what cannot start without it is given back."""
        for item in self._evict(held):
            if item is not held:
                self.release(item)
        self._window.remove(held)

    def _evict(self, held: Held) -> list[Held]:
        """Take a delivery that has not started, and all that cannot start without it, out of the lanes, in order."""
        evicted = self._lanes.evict(held.lane, held)
        if evicted or held.lane is None:
            return evicted or [held]
        return [held, *self._lanes.clear(held.lane)]  # it waited in place, the others behind it

    def release(self, held: Held) -> None:
        """Give back one that is in no lane (any more). Until `returned`, nothing of its lane is taken in."""
        if held.lane is not None:
            self._lanes.returns(held.lane, held)
        self._settler.add(held, held.released)

    def returned(self, held: Held) -> None:
        """The broker has taken it back, or it was lost."""
        if held.lane is not None:
            self._lanes.returned(held.lane, held)
