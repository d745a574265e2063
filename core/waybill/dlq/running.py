"""Carrying an operation out: claim → canary → the others → pending → decided. It goes on where it, or another process, was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import msgspec

from waybill.adapter import Adapter
from waybill.dlq.model import Letter
from waybill.dlq.operation import ENDED, Operation, Orders, Progress, State
from waybill.dlq.operations import Operations
from waybill.dlq.planning import Check, sifted
from waybill.dlq.sending import Sending
from waybill.dlq.watching import Seen, Watch
from waybill.errors import ConfigurationError
from waybill.moving import finish
from waybill.topology import Backlog, Destination, Subscription

__all__ = ["Brake", "Outcome", "decide", "run"]

Brake: TypeAlias = Callable[[], Awaitable[str | None]]
"""Why nothing should be sent just now, e.g. since the group's circuit is open; `None`: go on."""
OnProgress: TypeAlias = Callable[[Progress, str], None]

LOT = 5000
"""Letters claimed at once."""
EVERY = 0.5
"""Seconds between two looks at what has become of what was sent, …"""
UNKNOWN = (
    "after {seconds:g} s nobody has told what became of {number} of the canary: is the group consumed, by processes whose "
    "settings name this index (dlq)?"
)
SELDOM = 5.0
"""… and at what lies before the group, at least, …"""
SHARE = 20
"""… and so many times as long as such a look takes."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How far an operation has come in this run."""

    operation: Operation
    progress: Progress
    waits: str = ""
    """Why it stands still: `run` it again to go on. Empty: there is nothing to send any more."""

    @property
    def whole(self) -> bool:
        """Whether all that was claimed is sent, and removed."""
        return self.operation.state in {"pending", "done"} and not (self.progress.open or self.progress.left)


async def run(
    adapter: Adapter,
    subscription: Subscription,
    operations: Operations,
    operation: Operation,
    *,
    to: tuple[Adapter, Destination] | None = None,
    check: Check | None = None,
    brakes: Sequence[Brake] = (),
    on_progress: OnProgress = lambda _progress, _what: None,
    past_canary: bool = False,
    orders: Orders | None = None,
) -> Outcome:
    """Carry `operation` out from where it is, until all is sent, or it waits, or is aborted or cancelled.

    subscription: the group whose dead letters these are; collect them first (`collecting`). to: where the copies go, and the
    adapter of that broker; needed where `operation.to` names a place. check: bodies that do not fit are not
    claimed. brakes: asked before letters are sent, every half second at most unless `orders.ahead` is given. on_progress:
    called after each send, and while it waits, with what it does, in words. past_canary: go on though nobody knows yet what has
    become of the canary. orders: how, in this run; `None`: as it was begun. Those that say which letters count only for what it
    claims still.

    Cancelled, it ends what is being sent and gives back the rest: `run` it again. Raises `ConfigurationError` for an
    operation that has ended or that somebody else carries out, and `BrokerError`.
    """
    if operation.to and to is None:
        raise ConfigurationError(f"operation {operation.id} sends to {operation.to}: give that destination")
    place = to or (adapter, Destination("group", subscription.topic, subscription.group))
    with operations.carrying_out(operation) as runner:
        operation = operations.get(operation.id)  # only now does nobody else move it on
        if operation.state in ENDED:
            raise ConfigurationError(f"operation {operation.id} is {operation.state}: begin another one")
        carrying = _Run(
            adapter, subscription, operations, operation, runner,
            to=place, check=check, brakes=brakes, on_progress=on_progress, orders=orders or operation.orders,
        )  # fmt: skip
        beating = asyncio.create_task(operations.beating(operation, runner), name="waybill-dlq-beating")
        try:
            return await carrying.run(past_canary=past_canary)
        finally:
            beating.cancel()


async def decide(
    adapter: Adapter,
    subscription: Subscription,
    operations: Operations,
    operation: Operation,
    *,
    to: tuple[Adapter, Destination] | None = None,
    seen: Seen | None = None,
) -> Progress:
    """Look what has become of what is pending: a dead letter again, or settled. Ends the operation where all is decided.

    Settled is what a consumer with the same index has told, and everything once nothing lies before the group, where the broker
    can say so. On one that is sure only about, look several times with one `Watch`, as `run` does. to: as of `run`; without
    it, of an operation that has one, only what consumers have told counts. seen: `subscription` as somebody has just seen it
    (`watching.see`), so that it is not looked at once more for each operation.
    """
    own = Destination("group", subscription.topic, subscription.group)
    place = to or (adapter, own)
    watch = Watch(place[0].admin, place[1], operations, operation)
    told_only = operation.to and to is None
    progress = await (watch.heed() if told_only else watch.look(seen if place[1] == own else None))
    if operations.get(operation.id).state == "pending" and not (progress.pending or progress.open):
        operations.advance(operation, "done")
    return progress


class _Run:
    """One run of one operation."""

    def __init__(
        self,
        adapter: Adapter,
        subscription: Subscription,
        operations: Operations,
        operation: Operation,
        runner: str,
        *,
        to: tuple[Adapter, Destination],
        check: Check | None,
        brakes: Sequence[Brake],
        on_progress: OnProgress,
        orders: Orders,
    ) -> None:
        self._subscription = subscription
        self._operations = operations
        self._operation = operation
        self._runner = runner
        self._check = check
        self._brakes = brakes
        self._on_progress = on_progress
        self._orders = orders
        self._admin = to[0].admin
        self._place = to[1]
        self._watch = Watch(self._admin, self._place, operations, operation)
        self._sending = Sending(
            adapter, subscription, operations, operation, runner=runner, orders=orders, to=to, ask=self._ask
        )
        self._own = self._place == Destination("group", subscription.topic, subscription.group)
        self._looked = 0.0
        self._due = 0.0
        """When what lies before the group is looked at again."""
        self._fewest = float("inf")
        """The fewest dead letters that were seen, with those that were sent of them: how many there were at first."""

    async def run(self, *, past_canary: bool) -> Outcome:
        waits = ""
        if self._operation.state != "pending":  # for which a cancel came too late
            waits = await self._cut_short("")  # by one who did not come to the end of it
        while not waits and self._operation.under_way:
            if self._operation.state == "claiming":
                await self._claim()
            elif self._operation.state == "canary":
                waits = await self._canary(past=past_canary)
            else:
                waits = await self._send_all()
        progress = await self._watch.look() if self._operation.state == "pending" else await self._watch.heed()
        if self._operation.state == "pending" and not progress.pending:
            await self._become("done")
        elif waits and self._operation.state not in ENDED:
            self._operation = await asyncio.to_thread(self._operations.stand_still, self._operation, waits)
        self._on_progress(progress, waits or self._operation.state)
        return Outcome(operation=self._operation, progress=progress, waits=waits)

    # ---------------------------------------------------------------- the states

    async def _claim(self) -> None:
        """Whatever was claimed already counts: it may be the second process that claims."""
        orders = self._orders
        room = float("inf") if orders.limit is None else orders.limit
        room -= (await self._watch.heed()).total
        letters: list[Letter] = []

        async def take() -> int:
            return await asyncio.to_thread(self._operations.claim, self._operation, letters, self._runner)

        async for letter, left, _ in sifted(
            self._operations.index, self._subscription, self._operation.query, orders, self._check
        ):
            if room <= len(letters):
                break
            if left is None:
                letters.append(letter)
            if len(letters) == LOT:
                room -= await take()
                letters.clear()
                await self._tell("claiming")
        if letters:
            await take()
        if stop := await asyncio.to_thread(self._operations.stopped, self._operation, self._runner):
            await self._become("cancelled", stop)
            return
        canary = orders.canary and self._operation.verb != "discard"
        await self._become("canary" if canary else "running")

    async def _canary(self, *, past: bool) -> str:
        orders = self._orders
        progress = await self._watch.heed()
        half = progress.sending + progress.sent
        most = half + max(0, orders.canary - (progress.total - progress.claimed))
        if most and (waits := await self._sending.send(most)):
            return await self._cut_short(waits)
        end = time.monotonic() + orders.patience
        while (progress := await self._watch.look()).pending and not past:
            if stop := await asyncio.to_thread(self._operations.stopped, self._operation, self._runner):
                return await self._cut_short(stop)
            if time.monotonic() > end:
                return UNKNOWN.format(seconds=orders.patience, number=progress.pending)
            self._on_progress(progress, "waiting for the canary")
            await asyncio.sleep(EVERY)
        if not await self._too_many_came_back(progress):
            await self._become("running")
        return ""

    async def _send_all(self) -> str:
        waits = await self._sending.send()
        if waits:
            return await self._cut_short(waits)
        await self._become("done" if self._operation.verb == "discard" else "pending")
        return ""

    # ---------------------------------------------------------------- on the way

    async def _tell(self, what: str) -> None:
        """To count them takes a while where they are many."""
        if time.monotonic() - self._looked >= EVERY:
            self._looked = time.monotonic()
            self._on_progress(await self._watch.heed(), what)

    async def _ask(self, pause: Callable[[float], Awaitable[None]]) -> str:
        """Why no more are sent. Waits while something says that none should be now."""
        if self._orders.ahead is None and time.monotonic() - self._looked < EVERY:
            return ""
        while True:
            if stop := await asyncio.to_thread(self._operations.stopped, self._operation, self._runner):
                return stop
            progress, held = await self._glance()
            if await self._too_many_came_back(progress):
                return self._operation.note
            self._looked = time.monotonic()
            self._on_progress(progress, held or self._operation.state)
            if not held:
                return ""
            await self._sending.catch_up()
            await pause(asyncio.get_running_loop().time() + EVERY)

    async def _glance(self) -> tuple[Progress, str]:
        """How far it is, and why none should be sent now."""
        progress, orders = await self._watch.heed(), self._orders
        for brake in self._brakes:
            if why := await brake():
                return progress, why
        begun = time.monotonic()
        if self._place.group is None or (orders.ahead is None and begun < self._due):
            return progress, ""
        await self._sending.catch_up()  # so that all that is no dead letter any more is counted
        progress = await self._watch.heed()
        group = Subscription(topic=self._place.topic, group=self._place.group)
        backlog = await self._admin.backlog(group)
        self._due = begun + max(SELDOM, SHARE * (time.monotonic() - begun))
        if self._has_grown(backlog, progress):
            progress = await self._watch.look()
        waiting = sum(figure.value or 0 for figure in (backlog.ready, backlog.in_flight, backlog.delayed))
        if orders.ahead is not None and waiting >= orders.ahead:
            return progress, f"{waiting:g} messages lie before {group.name}"
        return progress, ""

    def _has_grown(self, backlog: Backlog, progress: Progress) -> bool:
        """Whether there are so many more dead letters than there should be that too many may have come back."""
        if backlog.dead.value is None:
            return False
        taken = progress.pending + progress.resolved + progress.came_back if self._own else 0
        there = backlog.dead.value + taken
        self._fewest = min(self._fewest, there)
        return there - self._fewest > progress.moved * self._orders.abort_above

    async def _too_many_came_back(self, progress: Progress) -> bool:
        if progress.came_back <= progress.moved * self._orders.abort_above:
            return False
        await self._sending.catch_up()  # what is removed by now has moved, and is not taken for left
        progress = await self._watch.heed()
        if progress.came_back <= progress.moved * self._orders.abort_above:
            return False
        alike = f", {progress.alike} of them having failed as before" if progress.alike else ""
        await self._become("aborted", f"{progress.came_back} of {progress.moved} came back{alike}")
        return True

    async def _cut_short(self, waits: str) -> str:
        """What cuts it short ends it, where somebody has cancelled it."""
        if self._operation.state not in ENDED and (
            stop := await asyncio.to_thread(self._operations.stopped, self._operation, self._runner)
        ):
            await self._become("cancelled", stop)
        return "" if self._operation.state in ENDED else waits

    async def _become(self, state: State, note: str = "") -> None:
        """In a thread: of many letters that are freed the loop would give no sign of life, and somebody else would take it over."""

        async def advance() -> None:
            self._operation = await asyncio.to_thread(self._operations.advance, self._operation, state, note)

        await finish(advance())
