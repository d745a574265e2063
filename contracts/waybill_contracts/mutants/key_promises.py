"""Wrong in the twelve ways that lose or repeat most: right while all is quiet, wrong under a crash, a second member, a full
window."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from waybill.adapter import Capabilities, Notify, Source
from waybill.message import Delivery, Message
from waybill.outcomes import (
    ACK,
    DONE,
    Ack,
    Confirmed,
    DeadLetter,
    Defer,
    Extended,
    ExtendResult,
    Release,
    SendResult,
    Settled,
    SettleResult,
)
from waybill.topology import Destination, Subscription
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []

LEFT_OPEN: list[object] = []


@mutant("A06")
class CommitsPastAGap(Wrapped):
    """An acknowledgement also acknowledges what failed before it, as a position in a log does."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._failed: list[Delivery[Any]] = []

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        del subscription
        self._failed += [item.delivery for item in settled if isinstance(item.settlement, Defer)]
        kept = [item for item in settled if not isinstance(item.settlement, Defer)]
        if kept:
            await source.settle(kept)
            await source.settle([Settled(delivery, ACK) for delivery in self._failed])
            self._failed.clear()
        return [DONE] * len(settled)


@mutant("A06")
class ForgetsAFailureWhenMoreIsHandled(Wrapped):
    """A retry is kept in the process, and forgotten when the next lot is fetched."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._put_off: list[Settled] = []

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        del subscription
        self._put_off += [item for item in settled if isinstance(item.settlement, Defer)]
        done = [item for item in settled if not isinstance(item.settlement, Defer)]
        if done:
            await source.settle(done + [Settled(item.delivery, ACK) for item in self._put_off])
        return [DONE] * len(settled)


@mutant("A01", "A04", "fault-18", "fault-21")
class AcknowledgesWhatItHandsOut(Wrapped):
    """At most once: what is handed out is gone, whatever becomes of it."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        del subscription
        deliveries = await source.receive(limit)
        if deliveries:
            await source.settle([Settled(delivery, ACK) for delivery in deliveries])
        return deliveries

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        del source, subscription
        return [DONE] * len(settled)


@mutant("A04")
class AcknowledgesTheWholeWindow(Wrapped):
    """Acknowledging one acknowledges all that came with it (`multiple`), also those that still run."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._out: list[Delivery[Any]] = []

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        self._out += deliveries
        return deliveries

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        del subscription
        acked = [item for item in settled if isinstance(item.settlement, Ack)]
        others = [item for item in settled if not isinstance(item.settlement, Ack)]
        if acked:
            last = max(item.delivery.token.seq for item in acked)
            before = [delivery for delivery in self._out if delivery.token.seq <= last]
            self._out = [delivery for delivery in self._out if delivery.token.seq > last]
            await source.settle([Settled(delivery, ACK) for delivery in before])
        if others:
            await source.settle(others)
        return [DONE] * len(settled)


@mutant("O04")
class LetsAKeyPassItsFailedMessage(Wrapped):
    """A failed message of a key is put off as if order did not matter."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        changed = [
            Settled(item.delivery, msgspec.structs.replace(item.settlement, relaxed=True))
            if isinstance(item.settlement, Defer)
            else item
            for item in settled
        ]
        return await super().do_settle(source, subscription, changed)


@mutant("O04")
class HandsAKeyToWhoeverAsks(Wrapped):
    """Order is kept within one member only: each gets whatever is next."""

    def changed_subscription(self, subscription: Subscription) -> Subscription:
        return msgspec.structs.replace(subscription, ordered=False)


@mutant("R08")
class RetriesThroughTheTopic(Wrapped):
    """A retry is published to the topic again, where every group sees it."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        copies = [
            msgspec.structs.replace(item.delivery.message, attempts=item.settlement.attempts)
            for item in settled
            if isinstance(item.settlement, Defer)
        ]
        if copies:
            async with self.inner.sink(Destination("topic", subscription.topic)) as sink:
                await sink.send(copies, deadline=asyncio.get_running_loop().time() + 5)
        return await source.settle(
            [Settled(item.delivery, ACK) if isinstance(item.settlement, Defer) else item for item in settled]
        )


@mutant("R08")
class SharesTheRetryPlace(Wrapped):
    """Retries of all groups wait in one place, and each of them takes what is due: the last retry only."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        late = [item for item in settled if isinstance(item.settlement, Defer) and item.settlement.attempts > 1]
        if late:
            copies = [msgspec.structs.replace(item.delivery.message, attempts=2) for item in late]
            async with self.inner.sink(Destination("topic", subscription.topic)) as sink:
                await sink.send(copies, deadline=asyncio.get_running_loop().time() + 5)
        return await source.settle([Settled(item.delivery, ACK) if item in late else item for item in settled])


@mutant("D04")
class AcknowledgesBeforeItDeadLetters(Wrapped):
    """A dead letter that could not be written is acknowledged all the same."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        del subscription
        try:
            return await source.settle(settled)
        except Exception:
            if not any(isinstance(item.settlement, DeadLetter) for item in settled):
                raise
            asyncio.get_running_loop().create_task(self._later(source, [item.delivery for item in settled]))
            return [DONE] * len(settled)

    async def _later(self, source: Source, deliveries: Sequence[Delivery[Any]]) -> None:
        for _ in range(30):
            try:
                await source.settle([Settled(delivery, ACK) for delivery in deliveries])
            except Exception:  # noqa: BLE001
                await asyncio.sleep(0.3)
            else:
                return


@mutant("D04")
class GoesOnThoughDeadLettersCannotBePlaced(Wrapped):
    """A settlement that fails is reported as done, and made in the background: nobody hears of the trouble."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        del subscription
        asyncio.get_running_loop().create_task(self._until_done(source, settled))
        return [DONE] * len(settled)

    async def _until_done(self, source: Source, settled: Sequence[Settled]) -> None:
        while True:
            try:
                await source.settle(settled)
            except Exception:  # noqa: BLE001
                await asyncio.sleep(0.2)
            else:
                return


@mutant("D12")
class ForgetsCrashes(Wrapped):
    """What killed a process comes back as if it had never been handed out."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        return [msgspec.structs.replace(delivery, attempt=1) for delivery in deliveries]


@mutant("D12")
class BlamesTheNeighbours(Wrapped):
    """Whatever was held when a process died counts as what killed it."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        return [
            msgspec.structs.replace(delivery, attempt=9) if (delivery.handed_out or 1) > 1 else delivery
            for delivery in deliveries
        ]


@mutant("D13")
class NeverCountsATimeout(Wrapped):
    """A handler that ran out of time is given back without an attempt, for ever."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        changed = [
            Settled(item.delivery, Release()) if isinstance(item.settlement, Defer | DeadLetter) else item
            for item in settled
        ]
        return await super().do_settle(source, subscription, changed)


@mutant("D13", "fault-28")
class DropsWhatHasNoAttemptsLeft(Wrapped):
    """After the last attempt the message is acknowledged, and no dead letter written."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        changed = [
            Settled(item.delivery, ACK)
            if isinstance(item.settlement, DeadLetter) and item.settlement.record.reason == "retries_exhausted"
            else item
            for item in settled
        ]
        return await super().do_settle(source, subscription, changed)


@mutant("F04", "F06", "R11")
class ForgetsTheLease(Wrapped):
    """Leases are not renewed, and run out while the handler works."""

    async def do_extend(self, source: Source, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        del source
        until = asyncio.get_running_loop().time() + 3600
        return [Extended(until)] * len(deliveries)


@mutant("F06")
class RenewsTheFirstOfALotOnly(Wrapped):
    """Of several messages one is renewed; the others' members learn that they have lost them."""

    async def do_extend(self, source: Source, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        from waybill.outcomes import LOST  # noqa: PLC0415

        results = list(await source.extend(deliveries))
        return results[:1] + [LOST] * (len(results) - 1)


@mutant("F07")
class KeepsALostLease(Wrapped):
    """A lease that is lost is reported as renewed, and the handler goes on beside the other's."""

    async def do_extend(self, source: Source, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        await super().do_extend(source, deliveries)
        return [Extended(asyncio.get_running_loop().time() + 3600)] * len(deliveries)


@mutant("F07")
class NeverTakesOver(Wrapped):
    """What a silent member holds stays with it: each member keeps a lease of an hour."""

    def changed_subscription(self, subscription: Subscription) -> Subscription:
        return msgspec.structs.replace(subscription, lease=3600.0)


@mutant("C02", "fault-06")
class GivesUpAfterAnOutage(Wrapped):
    """The first trouble ends the fetching: what comes later waits for a restart."""

    _over = False

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        while self._over:
            await asyncio.sleep(1)
        return await super().do_receive(source, subscription, limit)

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        asked = asyncio.ensure_future(super().do_settle(source, subscription, settled))
        if not (await asyncio.wait([asked], timeout=3))[0]:  # the request has timed out
            self._over = True
        return await asked


@mutant("C02")
class ConfirmsDuringAnOutage(Wrapped):
    """What cannot be stored now is confirmed all the same."""

    async def do_send(
        self, sink: Any, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        if await self.is_slow(1.0):
            return [Confirmed(message.id) for message in messages]
        return await super().do_send(sink, to, messages, deadline)


@mutant("L05")
class KeepsWhatIsReleased(Wrapped):
    """A release is not told to the broker: what was held comes back when the lease has run out."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        told = [item for item in settled if not isinstance(item.settlement, Release)]
        if told:
            await super().do_settle(source, subscription, told)
        return [DONE] * len(settled)

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        """Never left, so that nothing is given back by leaving it either."""
        left = super().source(subscription, window=window, notify=notify)
        LEFT_OPEN.append(left)
        yield await left.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        LEFT_OPEN.append(self)


@mutant("A07", "A14", "L05")
class CountsAReleaseAsAnAttempt(Wrapped):
    """What is given back has one attempt less."""

    async def do_settle(
        self, source: Source, subscription: Subscription, settled: Sequence[Settled]
    ) -> Sequence[SettleResult]:
        changed = [
            Settled(item.delivery, Release(item.delivery.attempt)) if isinstance(item.settlement, Release) else item
            for item in settled
        ]
        return await super().do_settle(source, subscription, changed)


@mutant("X02")
class ClaimsWhatItCannot(Wrapped):
    """It says that it can hold up a partition, and does nothing of the kind."""

    def changed_capabilities(self, can: Capabilities) -> Capabilities:
        return msgspec.structs.replace(can, blocks_partition=True)


@mutant("X02")
class ForgetsToRefuseWhatItLacks(Wrapped):
    """What it can is right before it connects; connected, it says that it can everything."""

    def changed_capabilities(self, can: Capabilities) -> Capabilities:
        return msgspec.structs.replace(can, blocks_partition=True, ordered=True)
