"""Wrong about what was published, and what is said of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from msgspec.structs import replace

from waybill.adapter import Sink, Source
from waybill.errors import BrokerError
from waybill.message import Delivery, Message
from waybill.outcomes import Refused, SendResult
from waybill.topology import Destination, Subscription, Topology
from waybill_contracts.mutants.moves import acknowledge, confirmed
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.wrapping import Wrapped

__all__ = ["ForgetsAPromise"]


@mutant("P01")
class LosesOneInFifty(Wrapped):
    """Every fiftieth message is confirmed and not stored."""

    sent = 0

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        kept: list[Message] = []
        for message in messages:
            self.sent += 1
            kept += [message] if self.sent % 50 else []
        await super().do_send(sink, to, kept, deadline)
        return confirmed(messages)


@mutant("P01", "P04")
class StoresTwice(Wrapped):
    """What is published is stored twice."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        await super().do_send(sink, to, messages, deadline)
        return await super().do_send(sink, to, messages, deadline)


@mutant("P01", "H03", "H04")
class DropsTheHeaders(Wrapped):
    """Headers do not travel."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, headers={})


@mutant("P02", "P11", "fault-18")
class ConfirmsWhatItWillSend(Wrapped):
    """What is handed to the client library is confirmed, and sent a second later."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._sending: list[asyncio.Task[None]] = []

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        del to
        self._sending.append(asyncio.create_task(self._later(sink, messages, deadline)))
        return confirmed(messages)

    async def _later(self, sink: Sink, messages: Sequence[Message], deadline: float) -> None:
        await asyncio.sleep(1.0)
        await sink.send(messages, deadline=deadline)

    async def closing(self) -> None:
        for task in self._sending:
            task.cancel()


@mutant("P03", "P14", "T03")
class ConfirmsWhatIsRefused(Wrapped):
    """Publishes without asking for the broker's answer: whatever it says, the message counts as stored."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        await super().do_send(sink, to, messages, deadline)
        return confirmed(messages)


@mutant("P03")
class KeepsWhatItRefused(Wrapped):
    """What is refused because nobody would get it is kept, and delivered to whoever comes."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._refused: list[Message] = []

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        results = await super().do_send(sink, to, [*self._refused, *messages], deadline)
        own = results[len(self._refused) :]
        self._refused += [m for m, result in zip(messages, own, strict=True) if isinstance(result, Refused)]
        return own


@mutant("P04")
class AnswersForAllWithTheFirst(Wrapped):
    """A call has one result, which counts for each message of it."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        return [(await super().do_send(sink, to, messages, deadline))[0]] * len(messages)


@mutant("P04")
class SendsTheFirstTenOnly(Wrapped):
    """A call of the broker takes ten messages, and what is beyond is dropped."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        await super().do_send(sink, to, messages[:10], deadline)
        return confirmed(messages)


@mutant("P04")
class RefusesMoreThanTen(Wrapped):
    """A call of the broker takes ten messages, and more than that are refused together."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        if len(messages) > 10:
            return [Refused("too many entries in the batch")] * len(messages)
        return await super().do_send(sink, to, messages, deadline)


@mutant("P05")
class SharesOneChannel(Wrapped):
    """Sends that overlap get in each other's way: the second is confirmed by the first one's answer, and not stored."""

    busy = False

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        if self.busy:
            return confirmed(messages)
        self.busy = True
        try:
            return await super().do_send(sink, to, messages, deadline)
        finally:
            self.busy = False


@mutant("P06", "P10")
class BlocksTheEventLoop(Wrapped):
    """Its client library is not asynchronous: while it waits for the broker nothing else runs, and no deadline is kept."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        if any(b'"number":%d,' % number in (message.body or b"") for message in messages for number in (1, 15)):
            time.sleep(6)  # noqa: ASYNC251 - that is what is wrong
        return await super().do_send(sink, to, messages, deadline)


@mutant("P06")
class SaysRefusedAndStoresIt(Wrapped):
    """What has no answer in time is called refused, though it is on its way."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        sending = asyncio.ensure_future(sink.send(messages, deadline=deadline + 20))
        done, _ = await asyncio.wait([sending], timeout=0.5)
        del to
        return sending.result() if done else [Refused("no answer in time")] * len(messages)


@mutant("P06", "P11")
class ConfirmsWhatItCannotSend(Wrapped):
    """What cannot be sent now is confirmed, and kept until it can be: not beyond the end of the process."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        del to
        sending = asyncio.ensure_future(sink.send(messages, deadline=deadline))
        done, _ = await asyncio.wait([sending], timeout=0.3)
        return sending.result() if done else confirmed(messages)


@mutant("P07")
class CarriesLessThanItSays(Wrapped):
    """Its limit is not the broker's: what is almost as large is refused by the broker only."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        if any(len(message.body or b"") > 1 << 20 for message in messages):
            return [Refused("too large")] * len(messages)
        return await super().do_send(sink, to, messages, deadline)


@mutant("P07")
class CutsWhatIsLarge(Wrapped):
    """A body is cut at a megabyte."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, body=message.body and message.body[: 1 << 20])


@mutant("P09")
class ClosesWhatOthersUse(Wrapped):
    """The connection is shared by the process, and whoever closes first closes it for all."""

    closed: ClassVar[set[str]] = set()

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._topics: set[str] = set()

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        self._topics.add(to.topic.name)
        if to.topic.name in self.closed:
            return [Refused("the connection is closed")] * len(messages)
        return await super().do_send(sink, to, messages, deadline)

    async def closing(self) -> None:
        self.closed.update(self._topics)


@mutant("P10")
class NeverRecovers(Wrapped):
    """A channel on which something has gone wrong once is of no use any more, and no other is opened."""

    poisoned = False

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        if self.poisoned:
            raise BrokerError("the channel is closed")
        began = time.monotonic()
        results = await super().do_send(sink, to, messages, deadline)
        self.poisoned = time.monotonic() - began > 0.3 or any(isinstance(result, Refused) for result in results)
        return results


@mutant("P12")
class ForgetsWhatIsIdle(Wrapped):
    """Messages are not durable: when nobody is connected any more, what was not handled is gone."""

    connected: ClassVar[set[int]] = set()
    sent_by: ClassVar[dict[str, int]] = {}

    async def opened(self) -> None:
        self.connected.add(id(self))

    async def closing(self) -> None:
        self.connected.discard(id(self))

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        self.sent_by.update((message.id, id(self)) for message in messages)
        return await super().do_send(sink, to, messages, deadline)

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        gone = [d for d in deliveries if self.sent_by.get(d.message.id) not in self.connected]
        await acknowledge(source, gone)
        return [delivery for delivery in deliveries if delivery not in gone]


class ForgetsAPromise(Wrapped):
    """Topics are declared without what they are to promise."""

    forgotten: ClassVar[dict[str, Any]] = {}

    def changed_topology(self, topology: Topology) -> Topology:
        return Topology(
            [replace(topic, **self.forgotten) for topic in topology.topics],
            [replace(s, topic=replace(s.topic, **self.forgotten)) for s in topology.subscriptions],
        )


@mutant("P13", "X04")
class ForgetsIds(ForgetsAPromise):
    """It says that it remembers ids, and remembers none."""

    forgotten: ClassVar[dict[str, Any]] = {"dedup_window": None}


@mutant("P13")
class RemembersIdsByConnection(ForgetsIds):
    """A repeated id is noticed where it comes from the same connection (an idempotent producer)."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._seen: set[tuple[str, str]] = set()

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        new = {message.id: message for message in messages if (to.name, message.id) not in self._seen}
        await super().do_send(sink, to, list(new.values()), deadline)
        self._seen.update((to.name, ident) for ident in new)
        return confirmed(messages)


@mutant("P13")
class RemembersIdsOfAllTopics(Wrapped):
    """An id that was seen on one topic is dropped on every other."""

    seen: ClassVar[dict[str, str]] = {}

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        new = [message for message in messages if self.seen.setdefault(message.id, to.name) == to.name]
        await super().do_send(sink, to, new, deadline)
        return confirmed(messages)


@mutant("P14", "X04")
class ForgetsItsLimit(ForgetsAPromise):
    """It says that it limits the length of a topic, and takes whatever comes."""

    forgotten: ClassVar[dict[str, Any]] = {"max_length": None}


@mutant("P14")
class IsFullForEver(Wrapped):
    """A topic that was full once stays so."""

    full: ClassVar[set[str]] = set()

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        if to.name in self.full:
            return [Refused("the topic is full", transient=True)] * len(messages)
        results = await super().do_send(sink, to, messages, deadline)
        if any(isinstance(result, Refused) for result in results):
            self.full.add(to.name)
        return results
