"""Sending the letters that an operation has claimed, or removing them: as many as may go now, with each step written down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from waybill.adapter import Adapter, capabilities_of
from waybill.deadletters import again
from waybill.dlq.journal import Written, ids_of
from waybill.dlq.operation import OPEN, Operation, Orders, Step
from waybill.dlq.operations import Move, Operations
from waybill.dlq.watching import STEADY
from waybill.letters import pages
from waybill.message import Delivery, Message
from waybill.moving import Mover, finish
from waybill.outcomes import ACK, RELEASE, Settled
from waybill.pace import Pace
from waybill.taking import Ahead, Letters
from waybill.topology import Count, Destination, Exactness, Subscription

__all__ = ["Sending"]

REST = 1.0
"""Seconds between two times that all letters are gone through for those that are claimed, while somebody else holds some, …"""
SPARE = 5.0
"""… and for which they are waited for longer than a lease: a process that has died may hold them."""
CLOSED: frozenset[Step] = frozenset({"left", "gone", "freed"})
"""A letter that stays where it is. Any other that was sent before is a second one of its id, and goes."""


class Moves(Protocol):
    """Does to letters what the operation is about."""

    gave_up: str
    """Why it goes no further."""

    async def move(self, chunk: Sequence[Delivery[Any]]) -> None: ...


class Discarding:
    """Removes letters for good."""

    def __init__(self, operations: Operations, operation: Operation, runner: str, letters: Letters) -> None:
        self._operations = operations
        self._operation = operation
        self._runner = runner
        self._letters = letters
        self.gave_up = ""

    async def move(self, chunk: Sequence[Delivery[Any]]) -> None:
        then = await self._letters.keeping(
            asyncio.to_thread(self._operations.stage, self._operation, ids_of(chunk), self._runner)
        )
        held = [delivery for delivery in chunk if self._letters.holds(delivery)]
        settled = [Settled(d, ACK if then.get(d.message.id) == "remove" else RELEASE) for d in held]
        undone = {item.delivery.token for item in await self._letters.settle(settled)}
        if self._letters.refusal:
            self.gave_up = f"what is to go cannot be removed: {self._letters.refusal}"
        done = ids_of([s.delivery for s in settled if s.settlement is ACK and s.delivery.token not in undone])
        await self._letters.keeping(asyncio.to_thread(self._operations.mark, self._operation, done, "discarded"))


@dataclass(slots=True)
class _Looked:
    """What was seen of the operation's letters, by the numbers of their moves."""

    began: float
    """Seconds since the epoch."""
    numbers: set[int] = field(default_factory=set[int])
    whole: bool = False
    """As many letters were seen as there were."""


class _Taken(NamedTuple):
    """Letters that are held, and the moves of those that are the operation's, by id, as they were when they were taken."""

    letters: Sequence[Delivery[Any]]
    moves: Mapping[str, Move]


class Sending:
    """One run's sending. Made in a running event loop."""

    def __init__(
        self,
        adapter: Adapter,
        subscription: Subscription,
        operations: Operations,
        operation: Operation,
        *,
        runner: str,
        orders: Orders,
        to: tuple[Adapter, Destination],
        ask: Callable[[Callable[[float], Awaitable[None]]], Awaitable[str]],
    ) -> None:
        """runner: who carries it out, as `Operations.carrying_out` gave it. ask: called before each chunk, with what waits until
        then and keeps the leases of what is held; says why no more are sent now."""
        self._adapter = adapter
        self._subscription = subscription
        self._operations = operations
        self._operation = operation
        self._runner = runner
        self._to = to
        self._ask = ask
        self._pace = Pace(orders.rate, of="letters")
        self._ahead = orders.ahead
        self._copies = operations.copies(operation)
        self._unsure: dict[str, str] = {}
        self._written = Written(operations, operation, runner, self._unsure)
        self._stuck: dict[str, bool] = {}
        self._looked = _Looked(began=0.0)
        """In the last pass."""
        self._alike = 0
        """Passes in a row in which as many were seen as there are."""

    async def catch_up(self) -> None:
        """Write down what has been done and is not written down yet."""
        await self._written.catch_up()

    async def send(self, most: float = float("inf")) -> str:
        """Send what is claimed, at most so many. Says why it stands still; nothing: all are, or so many. What somebody else
        holds is waited for."""
        loop = asyncio.get_running_loop()
        until = 0.0
        left = await self._open()
        while left:
            waits = await self._pass(min(most, left))
            before, left = left, await self._open()
            most -= before - left
            if waits or most <= 0 or not left:
                return waits
            if self._unsure:  # once more in the next run: another time at once would be another copy
                return f"of {len(self._unsure)} it is not known whether they were sent: {next(iter(self._unsure.values()))}"
            if not (waits := await self._account()):
                return ""
            if before != left or not until:
                until = loop.time() + self._subscription.lease + SPARE
            if loop.time() > until and not 0 < self._alike < STEADY:
                return waits
            await asyncio.sleep(REST)
            if stop := await self._ask(_sleep):
                return stop
            left = await self._open()
        return ""

    async def _pass(self, left: float) -> str:
        """Go through the dead letters once, for so many. Says why it was cut short."""
        self._looked = _Looked(began=time.time())
        dead = (await self._adapter.admin.backlog(self._subscription)).dead
        count, taken = 0, None
        async with self._opened() as (letters, moves), Ahead(lambda: self._take(letters)) as ahead:
            while left > 0 and (taken := await ahead.take()) is not None:
                count += len(taken.letters)
                if left > len(taken.letters):
                    ahead.begin(taken.letters)
                for chunk in await self._mine(letters, taken, left):
                    if waits := await self._ask(letters.pause):
                        return waits
                    await self._wait(letters, self._pace.next(len(chunk)))
                    await finish(moves.move(chunk))
                    left -= len(chunk)
                    if moves.gave_up:
                        return moves.gave_up
                if ahead.waits:  # perhaps for long
                    await self._written.catch_up()
            self._looked.whole = taken is None and self._were_all(count, dead)
        return ""

    async def _wait(self, letters: Letters, until: float) -> None:
        if until > asyncio.get_running_loop().time():
            await self._written.catch_up()
        await letters.pause(until)

    def _were_all(self, count: int, dead: Count) -> bool:
        """Whether so many letters are all that there were when the pass began. What somebody holds must be in the figure, and one
        that is known only about must say so several times in a row."""
        if dead.value is None or dead.exactness not in {Exactness.EXACT, Exactness.APPROXIMATE} or count < dead.value:
            self._alike = 0
            return False
        self._alike = STEADY if dead.exactness is Exactness.EXACT else self._alike + 1
        return self._alike >= STEADY

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[tuple[Letters, Moves], None]:
        """What takes the letters, and what moves them. What is held in the end is given back."""
        subscription = self._subscription
        async with self._adapter.dead_letters(subscription) as source:
            letters = Letters(source, subscription, lambda _: True, there=None, limit=None)
            try:
                if self._operation.verb == "discard":
                    yield letters, Discarding(self._operations, self._operation, self._runner, letters)
                    return
                adapter, destination = self._to
                one_by_one = subscription.ordered and not capabilities_of(adapter, destination.topic).sends_in_order
                async with adapter.sink(destination) as sink:
                    yield (
                        letters,
                        Mover(
                            letters,
                            sink,
                            self._copy,
                            ordered=subscription.ordered,
                            one_by_one=one_by_one,
                            journal=self._written,
                            stuck=self._stuck,
                        ),
                    )
            finally:
                try:
                    await self._written.catch_up()
                finally:
                    await letters.give_back()

    def _copy(self, message: Message) -> Message:
        late = datetime.now(UTC) if self._operation.orders.expired else None
        return self._copies.get(message.id) or again(message, self._operation.id, late=late)

    async def _take(self, letters: Letters) -> _Taken | None:
        taken = await letters.take(self._pace.batch)
        if taken is None:
            return None
        return _Taken(taken, await asyncio.to_thread(self._operations.among, self._operation, ids_of(taken)))

    async def _mine(self, letters: Letters, taken: _Taken, most: float) -> Sequence[Sequence[Delivery[Any]]]:
        """Those that are the operation's, in chunks, and at most so many; the others go back.

        A second letter of one id comes in a chunk of its own, when it is written down what has become of the first.
        """
        there = {(delivery.message.id, delivery.message.redrives) for delivery in taken.letters}
        self._looked.numbers |= {move.number for move in taken.moves.values() if (move.id, move.redrives) in there}
        first: dict[str, Delivery[Any]] = {}
        twins: list[Delivery[Any]] = []
        others: list[Delivery[Any]] = []
        for delivery in taken.letters:
            message = delivery.message
            move = taken.moves.get(message.id)
            if move is None or message.redrives != move.redrives or move.step in CLOSED or message.id in self._unsure:
                others.append(delivery)
            elif message.id in first:
                twins.append(delivery)
            elif len(first) < most:
                first[message.id] = delivery
            else:
                others.append(delivery)
        await letters.settle([Settled(delivery, RELEASE) for delivery in others])
        mine, size = list(first.values()), min(self._pace.chunk, self._ahead or self._pace.chunk)
        chunks = [mine[start : start + size] for start in range(0, len(mine), size)]
        return [*chunks, twins] if twins else chunks

    async def _open(self) -> int:
        return (await asyncio.to_thread(self._operations.progress, self._operation)).open

    async def _account(self) -> str:
        """All letters were gone through: what has become of those that were not among them. Why there may be more of them.

        A broker may show only the first of many letters; all of them have been seen where as many were taken as it said there
        were.
        """
        shown, complete = _Looked(began=time.time()), True
        async for page in pages(self._adapter.admin, self._subscription):
            complete &= page.complete
            moves = await asyncio.to_thread(
                self._operations.among, self._operation, [message.id for message in page.messages]
            )
            shown.numbers |= {
                move.number
                for message in page.messages
                if (move := moves.get(message.id)) is not None
                and move.redrives == message.redrives
                and move.step in OPEN
            }
        if not complete and not self._looked.whole:
            return "the broker could not show all dead letters: others hold some"
        await asyncio.to_thread(self._write_off, shown if complete else self._looked)
        return f"{len(shown.numbers)} of them are held by somebody else" if shown.numbers else ""

    def _write_off(self, looked: _Looked) -> None:
        for step in OPEN:
            then: Step = (
                "pending" if step != "claimed" else "discarded" if self._operation.verb == "discard" else "gone"
            )
            after = 0
            while moves := self._operations.at(self._operation, step, since=looked.began, after=after):
                after = moves[-1].number
                gone = [move.id for move in moves if move.number not in looked.numbers]
                self._operations.mark(self._operation, gone, then)


async def _sleep(until: float) -> None:
    await asyncio.sleep(until - asyncio.get_running_loop().time())
