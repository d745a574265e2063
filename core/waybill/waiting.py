"""What a consumer holds and no handler has: which of it starts next, and giving back what is not going to start here.

It waits in the lanes; a failed delivery of an ordered key waits outside, its lane closed, until its retry. What is given
back goes in order, and with a delivery of an ordered key goes all that is behind it: that would overtake it otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from waybill.clock import Clock
from waybill.gates.turn import Turn
from waybill.holding import Held, Window
from waybill.judging import expired
from waybill.lanes import Lanes
from waybill.options import Batch
from waybill.outcomes import Defer
from waybill.settling import Settler

__all__ = ["Waiting"]

SHORT = 5.0
"""Seconds that a delivery without a lane waits here for its turn; for longer it waits at the broker, so that others have room."""
LEAST = 0.25
"""Seconds that it waits at the broker at least."""
MOST_DOUBLED = 8
LONGEST = 300.0
"""Seconds that it waits there at most because of that."""


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
        turns: Sequence[Turn] = (),
    ) -> None:
        """`on_ready`: called when time alone has made something ready: a batch waited long enough, a retry is due, or the turn
        of a delivery has come. `turns`: what a single delivery may have to wait for."""
        self._window = window
        self._settler = settler
        self._clock = clock
        self._batch = batch
        self._on_ready = on_ready
        self._turns = turns
        self._timers: dict[Held, asyncio.TimerHandle] = {}
        """Of those that wait here outside of the lanes: until their retry is due, or their turn comes."""
        self._late: set[Held] = set()
        """Those of them that wait for their turn."""
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

    def next(self, now: float, *, alone: bool = False) -> Sequence[Held]:
        """What the next handler is for: one delivery, or a batch, unless `alone`. Empty: nothing may start now."""
        if self._batch is not None and not alone:
            return self._gather(self._batch, now)
        while (held := self._lanes.take()) is not None:
            if self._is_worth(held, now) and (not self._turns or self._is_its_turn(held, now)):
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
        self._wait(held, settlement.after)

    def keep(self, held: Held) -> None:
        """A delivery that failed through no fault of its own: it starts once more as the same attempt, after another one.

        Its lane stays closed, its lease is renewed.
        """
        held.delivery = msgspec.structs.replace(held.delivery, _value=msgspec.UNSET)
        held.ordinals = None
        held.forgiven = True
        self._lanes.keep(held.lane, held)

    def _wait(self, held: Held, pause: float) -> None:
        self._timers[held] = self._loop.call_later(pause, self._again, held)

    def _wait_no_more(self, held: Held) -> None:
        if (timer := self._timers.pop(held, None)) is not None:
            timer.cancel()
            self._late.discard(held)

    def _again(self, held: Held) -> None:
        self._wait_no_more(held)
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
            if self._is_worth(following, now) and (not self._turns or self._is_its_turn(following, now)):
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

    # ---------------------------------------------------------------- whose turn it is

    def _is_its_turn(self, held: Held, now: float) -> bool:
        """Whether it may start; if not, it waits in its lane's place, or at the broker, while others start."""
        delivery = held.delivery
        for turn in self._turns:
            if wait := turn.wait(delivery, now):
                self._put_off(held, wait, turn.left(delivery))
                return False
        for turn in self._turns:
            turn.take(delivery, now)
        return True

    def _put_off(self, held: Held, wait: float, left: float) -> None:
        """`left`: seconds that it must not wait beyond."""
        if held.lane is not None or (wait <= SHORT and len(self._late) < self._window.limit // 2):
            self._late.add(held)
            self._wait(held, wait)
            return
        delivery = held.delivery
        in_vain = max(0, (delivery.handed_out or 0) - delivery.attempt)
        longer = max(wait, LEAST) * 2 ** min(
            in_vain, MOST_DOUBLED
        )  # the broker may give up what it hands out too often
        wait = min(longer, max(wait, LONGEST), left)
        held.skipped = True  # it was not handled
        first = delivery.message.first_failure
        self._settler.add(held, Defer(wait, delivery.attempt - 1, first, relaxed=self._lanes.ordered))

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
        self._wait_no_more(held)
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
