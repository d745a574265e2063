"""Wrong about the order of a key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from waybill.adapter import Sink, Source
from waybill.message import Delivery, Message
from waybill.outcomes import (
    RELEASE,
    DeadLetter,
    Defer,
    SendResult,
    Settled,
    Settlement,
    SettleResult,
    Unknown,
)
from waybill.topology import Destination, Subscription
from waybill_contracts.mutants.moves import in_background
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []


@mutant("O01")
class HandsOutTheLastFirst(Wrapped):
    """What is fetched together is handed out in no order."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        return (await super().do_receive(source, subscription, limit))[::-1]


@mutant("O01")
class LosesTheKey(Wrapped):
    """What is delivered has no key any more."""

    def changed_delivery(self, delivery: Delivery[Any]) -> Delivery[Any]:
        return replace(delivery, message=replace(delivery.message, key=None))


@mutant("O02", "O04", "O07", "X04", "fault-31")
class HandsAKeyToWhoeverAsks(Wrapped):
    """Order is kept within one member only: each gets whatever is next."""

    def changed_subscription(self, subscription: Subscription) -> Subscription:
        return replace(subscription, ordered=False)


@mutant("O03")
class WaitsForAllThatIsOut(Wrapped):
    """The next are handed out when those before are settled, as a log does whose position must move first."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._out = 0

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        while self._out:
            await asyncio.sleep(0.02)
        deliveries = await super().do_receive(source, subscription, limit)
        self._out += len(deliveries)
        return deliveries

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        self._out -= len(settled)
        return await super().do_settle(source, subscription, settled)


@mutant("O04", "O06")
class LetsAKeyPassItsFailedMessage(Wrapped):
    """A failed message of a key is put off as if order did not matter."""

    def changed_settlement(self, settled: Settled) -> Settlement:
        settlement = settled.settlement
        return replace(settlement, relaxed=True) if isinstance(settlement, Defer) else settlement


@mutant("O05")
class BlocksARelaxedKey(Wrapped):
    """A failed message holds up its key, though the subscription is relaxed."""

    def changed_settlement(self, settled: Settled) -> Settlement:
        settlement = settled.settlement
        return replace(settlement, relaxed=False) if isinstance(settlement, Defer) else settlement


@mutant("O05")
class DoesNotSayThatItIsLate(Wrapped):
    """What comes back out of order does not say so."""

    def changed_delivery(self, delivery: Delivery[Any]) -> Delivery[Any]:
        return replace(delivery, out_of_order=False)


@mutant("O06")
class BlocksAKeyForGood(Wrapped):
    """A key with a dead letter is handed out no more."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._blocked: set[str | None] = set()

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        self._blocked |= {item.delivery.message.key for item in settled if isinstance(item.settlement, DeadLetter)}
        return await super().do_settle(source, subscription, settled)

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, min(limit, 1))
        return [delivery for delivery in deliveries if delivery.message.key not in self._blocked]


@mutant("O07")
class LetsGoBeforeItsHandlersEnd(Wrapped):
    """A member that is told to end gives back at once all that it holds, also what still runs."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._out: dict[int, Delivery[Any]] = {}

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        self._out |= {id(delivery.token): delivery for delivery in deliveries}
        return deliveries

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        for item in settled:
            self._out.pop(id(item.delivery.token), None)
        return await super().do_settle(source, subscription, settled)

    async def do_quiesce(self, source: Source) -> None:
        await super().do_quiesce(source)
        await source.settle([Settled(delivery, RELEASE) for delivery in self._out.values()])


@mutant("O08")
class PutsTheKeylessInOneLine(Wrapped):
    """Messages without a key share one."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, key=message.key or "none")


@mutant("O09")
class SendsAgainBehindTheOthers(Wrapped):
    """A send that takes long is given up, and made again later, behind what was published meanwhile."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        sending = asyncio.ensure_future(super().do_send(sink, to, messages, deadline))
        done, _ = await asyncio.wait([sending], timeout=0.3)
        if done:
            return sending.result()
        in_background(self._later(sink, messages))
        return [Unknown("it took too long")] * len(messages)

    async def _later(self, sink: Sink, messages: Sequence[Message]) -> None:
        await asyncio.sleep(2.0)
        await sink.send(messages, deadline=asyncio.get_running_loop().time() + 5)


@mutant("O10")
class ForgetsTheRedrive(Wrapped):
    """A redriven copy does not say that it is one."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, redrives=0)


@mutant("O10")
class RedrivesWithoutItsKey(Wrapped):
    """A redriven copy has no key, and passes all that wait."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        if to.kind == "group":
            messages = [replace(message, key=None) for message in messages]
        return await super().do_send(sink, to, messages, deadline)
