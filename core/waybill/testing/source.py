"""One subscription's way out, with faults: what a service sees is what a real broker may show it (`waybill.adapter`).

What is late is put off at the broker inside, and comes from there when the clock says so. Where the subscription is
ordered, nothing of a key passes what is late or was taken back: what came with it, or comes before the broker inside has
it again, is released behind it.
"""

from __future__ import annotations

import asyncio
from asyncio import Task
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from waybill.adapter import Notify, Resumed, Revoked, Sink, Source, Stalled
from waybill.clock import Clock
from waybill.message import Delivery, Message
from waybill.outcomes import RELEASE, Ack, Defer, ExtendResult, Failed, Settled, SettleResult
from waybill.testing.faults import Fault, Faults
from waybill.topology import Subscription

__all__ = ["FaultySource"]

PATIENCE = 30.0
"""Seconds that the broker inside has for storing a second copy."""


@dataclass(eq=False, slots=True)
class Swap:
    """Two deliveries that change places: the first of `line` waits for the other, and the rest of it for both."""

    fault: Fault
    line: list[Delivery[Any]]
    other: Any = None
    """The token of the one that came first."""


class FaultySource:
    """`inner`, with faults."""

    def __init__(
        self,
        inner: Source,
        subscription: Subscription,
        *,
        copies: Sink,
        clock: Clock,
        faults: Faults,
        notify: Notify,
    ) -> None:
        self._inner = inner
        self._copies = copies
        self._subscription = subscription
        self._clock = clock
        self._faults = faults
        self._notify = notify
        self._out: dict[Any, Delivery[Any]] = {}
        """Handed out and not settled, by token, in that order."""
        self._swap: Swap | None = None
        self._lost: dict[Any, list[Delivery[Any]]] = {}
        """By the token of the delivery whose handler still runs: what it takes along."""
        self._gone: dict[Any, Delivery[Any]] = {}
        """Taken back, by token, until the broker inside has them: nothing behind them arrives before."""
        self._unseen: dict[str, Delivery[Any]] = {}
        """The last delivery of a message that did not arrive, by the message's id."""
        self._tasks: set[Task[None]] = set()
        self._present = asyncio.Event()
        self._present.set()

    # ---------------------------------------------------------------- what a test sees and does

    @property
    def kept(self) -> int:
        """How many deliveries wait for another one to pass them."""
        return 0 if self._swap is None else len(self._swap.line)

    def let_come(self) -> bool:
        """Hand out what waits for another one: there is no other. Whether anything did wait."""
        swap, self._swap = self._swap, None
        if swap is not None:
            self._put_back([Settled(delivery, RELEASE) for delivery in swap.line])
        return swap is not None

    def stall(self, cause: str) -> None:
        self._present.clear()
        self._notify(Stalled(cause))

    def resume(self) -> None:
        self._present.set()
        self._notify(Resumed())

    def lose(self, delivery: Delivery[Any], fault: Fault) -> None:
        """The lease of what was handed out is lost, and of what is behind it under its key."""
        gone = self._take_line(delivery)
        if gone:
            self._faults.happened(fault, delivery.message, "its lease was lost while the handler ran")
            self._lost[delivery.token] = gone
            self._gone |= {each.token: each for each in gone}
            self._notify(Revoked(gone))

    def hand_on(self, delivery: Delivery[Any]) -> None:
        """What lost its lease goes to whoever is next, now that its handler has ended: so both never run at once."""
        if delivery.token in self._lost:
            self._settle_inside([Settled(each, RELEASE) for each in self._lost.pop(delivery.token)])

    async def close(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks)

    # ---------------------------------------------------------------- Source

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = [self._as_the_service_knows_it(each) for each in await self._inner.receive(limit)]
        if self._faults.is_away:  # fetched and not handed out: it comes again
            self._put_back([Settled(delivery, RELEASE) for delivery in deliveries])
            await self._present.wait()
            return ()
        late: list[Settled] = []
        arrived: list[Delivery[Any]] = []
        for delivery in deliveries:
            if not self._is_kept(delivery, late):
                self._out[delivery.token] = delivery
                arrived.append(delivery)
        self._put_back(late)
        return arrived  # with no step between: what is settled meanwhile could change whose turn it is

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        self._faults.reach()
        self._end_swap(settled)
        gone = self._crashed(settled)
        asked = [Settled(item.delivery, RELEASE) if item.delivery.token in gone else item for item in settled]
        known = {item.delivery.token for item in settled}
        asked += [Settled(delivery, RELEASE) for token, delivery in gone.items() if token not in known]
        results = (await self._inner.settle(asked))[: len(settled)]
        for item, result in zip(settled, results, strict=True):
            if not isinstance(result, Failed):
                self._out.pop(item.delivery.token, None)
        self._forget(gone)
        return results

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        self._faults.reach()
        return await self._inner.extend(deliveries)

    async def quiesce(self) -> None:
        self._present.set()
        await self._inner.quiesce()

    # ---------------------------------------------------------------- on the way in

    def _is_kept(self, delivery: Delivery[Any], late: list[Settled]) -> bool:
        """Whether it does not arrive now: it waits for two others to change places, or `late` says when it comes."""
        gone = (*self._gone.values(), *(item.delivery for item in late))
        if any(self._is_behind(delivery, other) for other in gone):
            late.append(Settled(delivery, RELEASE))
            return True
        if self._swap is None:
            return self._is_hit(delivery, late)
        if self._swap.other is None:
            self._swap.other = delivery.token
            return False
        self._swap.line.append(delivery)
        return True

    def _is_hit(self, delivery: Delivery[Any], late: list[Settled]) -> bool:
        """Whether a fault keeps it."""
        message = delivery.message
        fault = self._faults.take("receive", self._subscription.name, message)
        if fault is None:
            return False
        if fault.kind == "duplicate":
            self._in_background(self._copy(message))
            self._faults.happened(fault, message, "delivered once more")
            return False
        if fault.kind == "reorder":
            self._swap = Swap(fault, [delivery])
        elif any(self._is_behind(delivery, other) for other in self._out.values()):
            fault.give_back(message)  # its turn comes when those before it are handled
            late.append(Settled(delivery, RELEASE))
        else:
            late.append(self._put_off(delivery, fault))
        return True

    def _put_off(self, delivery: Delivery[Any], fault: Fault) -> Settled:
        now = self._clock.time()
        first_failure = delivery.message.first_failure or datetime.fromtimestamp(now, UTC)
        if fault.kind == "drop":  # the broker has seen it off, and says so when it comes again
            text, after = "its delivery was lost", self._subscription.lease
            delivery = msgspec.structs.replace(delivery, redelivered=True, handed_out=(delivery.handed_out or 1) + 1)
        else:
            text, after = "its delivery takes long", fault.delay
        self._faults.happened(fault, delivery.message, text, due=now + after)
        return Settled(delivery, Defer(after, delivery.attempt - 1, first_failure))

    def _as_the_service_knows_it(self, delivery: Delivery[Any]) -> Delivery[Any]:
        """Without the traces of how it was put off at the broker inside."""
        unseen = self._unseen.pop(delivery.message.id, None)
        if unseen is None:
            return delivery
        message = msgspec.structs.replace(delivery.message, first_failure=unseen.message.first_failure)
        return msgspec.structs.replace(
            delivery, message=message, redelivered=unseen.redelivered, handed_out=unseen.handed_out
        )

    async def _copy(self, message: Message) -> None:
        await self._copies.send([message], deadline=asyncio.get_running_loop().time() + PATIENCE)

    def _put_back(self, settled: Sequence[Settled]) -> None:
        """What the service has not seen goes back to the broker inside."""
        self._unseen |= {item.delivery.message.id: item.delivery for item in settled}
        self._settle_inside(settled)

    def _settle_inside(self, settled: Sequence[Settled]) -> None:
        if settled:
            self._gone |= {item.delivery.token: item.delivery for item in settled}
            self._in_background(self._settle_now(settled))

    async def _settle_now(self, settled: Sequence[Settled]) -> None:
        await self._inner.settle(settled)
        self._forget(item.delivery.token for item in settled)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="waybill-faults")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _forget(self, tokens: Iterable[Any]) -> None:
        for token in tokens:
            self._gone.pop(token, None)

    # ---------------------------------------------------------------- on the way back

    def _end_swap(self, settled: Sequence[Settled]) -> None:
        """Before the other one is settled, so that at no time nothing seems to be left."""
        swap = self._swap
        if swap is None or swap.other not in {item.delivery.token for item in settled}:
            return
        self._swap = None
        self._faults.happened(swap.fault, swap.line[0].message, "the one behind it was handled before it")
        self._put_back([Settled(delivery, RELEASE) for delivery in swap.line])

    def _crashed(self, settled: Sequence[Settled]) -> dict[Any, Delivery[Any]]:
        """What a crash of the process takes back, by token: what it acknowledges now, and all behind that under its key."""
        gone: dict[Any, Delivery[Any]] = {}
        for item in settled:
            delivery = item.delivery
            if delivery.token not in self._out or not isinstance(item.settlement, Ack):
                continue
            fault = self._faults.take("settle", self._subscription.name, delivery.message)
            if fault is not None:
                self._faults.happened(fault, delivery.message, "the process died before the broker knew of it")
                gone |= {each.token: each for each in self._take_line(delivery)}
        self._gone |= gone
        known = {item.delivery.token for item in settled}
        if behind := [each for token, each in gone.items() if token not in known]:
            self._notify(Revoked(behind))
        return gone

    # ---------------------------------------------------------------- order

    def _is_behind(self, delivery: Delivery[Any], other: Delivery[Any]) -> bool:
        """Whether what came after `other` must be handled after it."""
        key = delivery.message.key
        ordered = self._subscription.ordered and not (delivery.out_of_order or other.out_of_order)
        return ordered and key is not None and key == other.message.key

    def _take_line(self, delivery: Delivery[Any]) -> list[Delivery[Any]]:
        """Take back what was handed out: this, and all behind it under its key where order asks for it."""
        if delivery.token not in self._out:
            return []
        tokens = list(self._out)
        later = tokens[tokens.index(delivery.token) + 1 :]
        line = [delivery.token, *(token for token in later if self._is_behind(self._out[token], delivery))]
        return [self._out.pop(token) for token in line]
