"""Wrong about connections, users, servers and partitions: mutants of the stand-in that has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from waybill.adapter import Notify, Sink, Source
from waybill.errors import BrokerError
from waybill.message import Delivery, Message
from waybill.outcomes import SendResult
from waybill.topology import Destination, Plan, Subscription, Topology
from waybill_contracts.mutants.moves import acknowledge, confirmed
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.standing_in import StandIn

__all__: list[str] = []


@mutant("C03")
class AcknowledgesWhatIsCut(StandIn):
    """What was handed out over a connection counts as handled when that is cut."""

    async def lose(self, source: Source, out: Sequence[Delivery[Any]]) -> None:
        await acknowledge(source, out)


class _KnowsThatItWasCut(StandIn):
    was_cut = False

    async def cut(self) -> None:
        self.was_cut = True
        await super().cut()


@mutant("C03", "C09", "fault-01")
class StaysCut(_KnowsThatItWasCut):
    """A connection that is lost is made anew, and nothing is asked for over it."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        if self.was_cut:
            await asyncio.sleep(3600)
        return await super().do_receive(source, subscription, limit)


@mutant("C09")
class ConfirmsForAServerThatIsGone(_KnowsThatItWasCut):
    """The first that is published after a server has gone is confirmed, and nobody has it."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        if self.was_cut:
            self.was_cut = False
            return confirmed(messages)
        return await super().do_send(sink, to, messages, deadline)


@mutant("C06")
class LetsAnyoneIn(StandIn):
    """Whoever it does not know is let in."""

    async def refuse(self) -> None: ...


@mutant("C06")
class TriesCredentialsAgain(StandIn):
    """Wrong credentials are taken for an outage, and tried again."""

    async def refuse(self) -> None:
        for _ in range(12):
            await asyncio.sleep(1.0)
        await super().refuse()


@mutant("T07")
class DeclaresWhateverItUses(StandIn):
    """Who consumes declares its group anew, also where it was told to assume that it is there."""

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        if self.user == "guest":
            self.deny(await self.do_plan(Topology((subscription.topic,), (subscription,))))
        async with super().source(subscription, window=window, notify=notify) as source:
            yield source


@mutant("T07")
class SaysNotWhatMayNotBeDeclared(StandIn):
    """Something may not be declared, and it does not say what."""

    def deny(self, plan: Plan) -> None:
        del plan
        raise BrokerError("access was refused")


@mutant("T09")
class TakesPartitionsAway(StandIn):
    """Partitions are taken away, with what they hold."""

    def partition(self, name: str, there: int, wanted: int) -> None:
        del there
        self.partitions[self.file, name] = wanted


@mutant("T09")
class SaysNotThatKeysMove(StandIn):
    """There are to be more partitions, and it says only how many."""

    def difference(self, there: int, wanted: int) -> str:
        return f"it has {there} partitions, not {wanted}"
