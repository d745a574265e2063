"""Wrong about how much there is, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from waybill.adapter import Sink, Source
from waybill.message import Delivery, Message
from waybill.outcomes import LOST, Ack, SendResult, Settled, SettleResult
from waybill.topology import Backlog, Count, Destination, Exactness, Subscription
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []


@mutant("V02")
class StoresEverySecondTwice(Wrapped):
    """One message in two is stored twice and confirmed once."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        results = await super().do_send(sink, to, messages, deadline)
        if to.kind == "topic":
            await super().do_send(sink, to, messages[::2], deadline)
        return results


@mutant("V02")
class TakesTheFirstForLost(Wrapped):
    """The first acknowledgement of each call is taken, and answered as lost."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        results = list(await super().do_settle(source, subscription, settled))
        if isinstance(settled[0].settlement, Ack):
            results[0] = LOST
        return results


@mutant("V02")
class HandsOutTheLastTwice(Wrapped):
    """The last of several is handed out twice, under two tokens, of which it forgets one."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, max(1, limit - 1))
        return [*deliveries, replace(deliveries[-1], token=object())] if len(deliveries) > 1 else deliveries

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        known = [item for item in settled if type(item.delivery.token) is not object]
        results = iter(await super().do_settle(source, subscription, known))
        return [LOST if type(item.delivery.token) is object else next(results) for item in settled]


@mutant("V04")
class SeesOnlyWhatIsReady(Wrapped):
    """What is in flight counts as handled."""

    async def do_backlog(self, subscription: Subscription) -> Backlog:
        backlog = await super().do_backlog(subscription)
        return replace(backlog, ready=Count((backlog.ready.value or 0) // 2), in_flight=Count(0))


@mutant("V04")
class CountsWhatWasHandled(Wrapped):
    """The backlog never goes down."""

    most = 0.0

    async def do_backlog(self, subscription: Subscription) -> Backlog:
        backlog = await super().do_backlog(subscription)
        type(self).most = max(self.most, backlog.ready.value or 0)
        return replace(backlog, ready=Count(self.most))


@mutant("V04")
class CannotSay(Wrapped):
    """It knows nothing of what lies there, and tells none for it."""

    async def do_backlog(self, subscription: Subscription) -> Backlog:
        unknown = Count(None, Exactness.UNKNOWN)
        return replace(await super().do_backlog(subscription), ready=unknown, in_flight=unknown)
