"""Ways in: a topic of SNS or a queue; ten messages a call, and each has a result of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from waybill.clock import Clock
from waybill.errors import BrokerError, BrokerUnavailable, DestinationMissing, missing, unrouted
from waybill.foreign import NotPermitted
from waybill.lots import Lot
from waybill.message import Message
from waybill.outcomes import Confirmed, Refused, SendResult, Unknown
from waybill.settling import back_off
from waybill.topology import Destination
from waybill_sqs import records
from waybill_sqs.client import Aws
from waybill_sqs.gathering import Gatherer
from waybill_sqs.layout import Layout
from waybill_sqs.limits import MOST_BYTES
from waybill_sqs.mapping import NotTaken, Throttled, refusal
from waybill_sqs.options import options_of

__all__ = ["SqsSink"]

MARGIN = 0.05
"""Seconds before the deadline at which the answer is given up, so that ours comes in time."""
ROUTED = 5.0
"""Seconds that a topic which somebody shares is taken to be shared still."""


class Pending(msgspec.Struct, eq=False):
    """A message without an answer."""

    lot: Lot
    place: int
    ident: str
    fields: dict[str, Any]
    size: int
    group: str | None
    doubtful: bool = False
    """Whether AWS may have it."""
    cause: str = "it was not its turn in time"

    @property
    def given_up(self) -> bool:
        return self.lot.results[self.place] is not None

    def decide(self, result: SendResult) -> None:
        self.lot.decide(self.place, result)


class SqsSink:
    """One destination."""

    def __init__(self, aws: Aws, layout: Layout, destination: Destination, clock: Clock) -> None:
        self._aws = aws
        self._destination = destination
        self._clock = clock
        kind = layout.kind(destination.topic)
        self._fifo = kind.fifo
        self._keyed = kind.fifo and destination.kind == "topic" and destination.topic.ordered
        """Whether what has no key would be without an order that was meant."""
        self._published = layout.published(destination)
        self._name = layout.place(destination)
        self._hop = destination.kind if destination.group is None else f"{destination.kind} {destination.group}"
        self._most = aws.table.sns_message_size if self._published else MOST_BYTES
        self._filters = options_of(destination.topic).filter_headers
        self._where = ""
        self._routed_until = 0.0
        self._gatherer: Gatherer[Pending] = Gatherer(
            self._call, linger=aws.table.send_linger, calls=aws.table.calls, most=self._most
        )

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        try:
            async with asyncio.timeout_at(deadline - MARGIN):
                if (refused := await self._ready()) is not None:
                    return [refused] * len(messages)
        except TimeoutError:
            return [Refused("AWS cannot be reached in time", transient=True)] * len(messages)
        lot = Lot(len(messages))
        pending = [p for place, message in enumerate(messages) if (p := self._pending(lot, place, message))]
        self._gatherer.add(pending)
        try:
            async with asyncio.timeout_at(deadline - MARGIN):
                if lot.left:
                    await lot.done
        except TimeoutError:
            self._give_up(pending, "no answer in time")
        except asyncio.CancelledError:
            self._give_up(pending, "the application stopped before the answer came")
            raise
        return lot.answers

    def _give_up(self, pending: Sequence[Pending], cause: str) -> None:
        for each in pending:
            each.decide(Unknown(cause) if each.doubtful else Refused(f"not sent: {each.cause}", transient=True))

    async def close(self) -> None:
        await self._gatherer.close()

    # ---------------------------------------------------------------- where

    async def _ready(self) -> Refused | None:
        """Find it, and see that somebody gets what is published. Answers why nothing can be sent."""
        failures = 0
        while True:
            try:
                if not self._where:
                    find = self._aws.topic_arn if self._published else self._aws.url
                    self._where = await find(self._name)
                if self._published and time.monotonic() > self._routed_until and not await self._routed():
                    return Refused(unrouted(self._destination.topic.name))
            except DestinationMissing:
                return self._missing()
            except BrokerUnavailable:
                failures += 1
                await asyncio.sleep(back_off(failures))
            except BrokerError as error:
                return Refused(str(error))
            else:
                return None

    def _missing(self) -> Refused:
        self._aws.forget(self._name)
        self._where = ""
        return Refused(missing(self._destination.name))

    async def _routed(self) -> bool:
        """Whether the topic is shared by somebody. Who may not look takes it for so."""
        if not self._destination.topic.accept_unrouted:
            try:
                answer = await self._aws.sns(
                    "list_subscriptions_by_topic", f"cannot see who shares {self._name}", TopicArn=self._where
                )
                if not answer.get("Subscriptions"):
                    return False
            except NotPermitted:
                pass
        self._routed_until = time.monotonic() + ROUTED
        return True

    # ---------------------------------------------------------------- what

    def _pending(self, lot: Lot, place: int, message: Message) -> Pending | None:
        """What is to be sent of it; what cannot be is refused before anything is."""
        if message.key is None and self._keyed:
            lot.decide(
                place, Refused(f"it has no key, and {self._destination.name} is FIFO, which orders by key: give it one")
            )
            return None
        entry = self._entry(message)
        if entry.size > self._most and self._destination.kind == "dead":
            for shorter in records.shortened(message):
                if (entry := self._entry(shorter)).size <= self._most:
                    break
        if entry.size > self._most:
            lot.decide(
                place, Refused(f"the message has {entry.size} bytes as AWS counts, at most {self._most} are carried")
            )
            return None
        return Pending(lot, place, message.id, entry.fields, entry.size, entry.group)

    def _entry(self, message: Message) -> records.Entry:
        once = self._destination.topic.dedup_window is not None and self._destination.kind == "topic"
        return records.entry(
            message,
            fifo=self._fifo,
            dead=self._destination.kind == "dead",
            hop=self._hop,
            ident="" if once else message.time.isoformat(),
            delays=not self._published,
            filters=self._filters,
            now=self._clock.time(),
        )

    # ---------------------------------------------------------------- sending

    async def _call(self, batch: Sequence[Pending]) -> Sequence[Pending] | None:
        """See `Gatherer`."""
        batch = [pending for pending in batch if not pending.given_up]  # it was said meanwhile that they are not sent
        if not batch:
            return ()
        entries = [{"Id": str(number), **pending.fields} for number, pending in enumerate(batch)]
        for pending in batch:
            pending.doubtful = True
        try:
            answer = await self._sent(entries)
        except NotTaken as error:
            for pending in batch:
                pending.doubtful, pending.cause = False, str(error)
            return None if isinstance(error, Throttled) else batch
        except DestinationMissing:
            return self._decided(batch, self._missing())
        except BrokerUnavailable as error:
            return self._decided(batch, Unknown(str(error)))
        except BrokerError as error:
            return self._decided(batch, Refused(str(error)))
        except Exception as error:  # noqa: BLE001 - the library's bug or ours: who waits must hear of it
            return self._decided(batch, Unknown(f"the call failed: {error!r}"))
        return self._sorted_out(batch, answer)

    def _decided(self, batch: Sequence[Pending], result: SendResult) -> Sequence[Pending]:
        for pending in batch:
            pending.decide(result)
        return ()

    async def _sent(self, entries: Sequence[dict[str, Any]]) -> Mapping[str, Any]:
        doing = f"cannot publish to {self._destination.name}"
        if self._published:
            published = [_for_sns(entry) for entry in entries]
            return await self._aws.sns(
                "publish_batch", doing, TopicArn=self._where, PublishBatchRequestEntries=published
            )
        return await self._aws.sqs("send_message_batch", doing, QueueUrl=self._where, Entries=entries)

    def _sorted_out(self, batch: Sequence[Pending], answer: Mapping[str, Any]) -> list[Pending]:
        again: list[Pending] = []
        for taken in answer.get("Successful") or ():
            pending = batch[int(taken["Id"])]
            pending.decide(Confirmed(pending.ident, f"{self._name} {taken.get('MessageId', '')}"))
        for failed in answer.get("Failed") or ():
            pending = batch[int(failed["Id"])]
            text, later = refusal(failed)
            pending.doubtful, pending.cause = False, text
            if later:
                again.append(pending)
            else:
                pending.decide(Refused(text))
        for pending in batch:
            if pending.doubtful and not pending.given_up:
                pending.decide(Unknown("AWS did not say what became of it"))
        return sorted(again, key=lambda pending: pending.place)


def _for_sns(entry: dict[str, Any]) -> dict[str, Any]:
    renamed = {"MessageBody": "Message"}
    return {renamed.get(name, name): value for name, value in entry.items() if name != "MessageSystemAttributes"}
