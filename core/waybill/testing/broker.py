"""An adapter around an adapter: what it carries is the other's, except for the faults that a test has armed.

See `source.py` for what goes wrong on the way to the service; on the way to the broker a publish may be refused, or its
answer lost.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import msgspec

from waybill.adapter import Adapter, Admin, Capabilities, Limits, Notify, Sink, Source
from waybill.clock import Clock
from waybill.message import Message
from waybill.outcomes import Confirmed, Refused, SendResult, SettlementKind, Unknown
from waybill.testing.faults import AWAY, Fault, Faults
from waybill.testing.source import FaultySource
from waybill.testing.story import Story
from waybill.topology import Destination, Subscription, Topology

__all__ = ["FaultyAdapter"]


class FaultyAdapter:
    """`inner`, with faults."""

    def __init__(self, inner: Adapter, clock: Clock, faults: Faults, story: Story) -> None:
        self._inner = inner
        self._clock = clock
        self._faults = faults
        self._story = story

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)

    @property
    def claims(self) -> Capabilities:
        return _narrowed(self._inner.claims)

    @property
    def capabilities(self) -> Capabilities:
        return _narrowed(self._inner.capabilities)

    @property
    def native_settlements(self) -> frozenset[SettlementKind]:
        return self._inner.native_settlements

    @property
    def admin(self) -> Admin:
        return self._inner.admin

    def gaps(self, topology: Topology) -> Sequence[str]:
        return self._inner.gaps(topology)

    def limits(self, destination: Destination) -> Limits:
        return self._inner.limits(destination)

    @asynccontextmanager
    async def sink(self, destination: Destination) -> AsyncGenerator[Sink, None]:
        async with self._inner.sink(destination) as inner:
            topical = destination.kind == "topic"
            yield FaultySink(inner, destination.topic.name, self._faults, self._story) if topical else inner

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        inbox = Destination("group", subscription.topic, subscription.group)
        async with (
            self._inner.sink(inbox) as copies,
            self._inner.source(subscription, window=window, notify=notify) as inner,
        ):
            source = FaultySource(
                inner, subscription, copies=copies, clock=self._clock, faults=self._faults, notify=notify
            )
            self._faults.sources[subscription.name] = source
            try:
                yield source
            finally:
                del self._faults.sources[subscription.name]
                await source.close()

    @asynccontextmanager
    async def dead_letters(self, subscription: Subscription) -> AsyncGenerator[Source, None]:
        async with self._inner.dead_letters(subscription) as inner:
            yield inner


def _narrowed(can: Capabilities) -> Capabilities:
    """A fault hits one message and not those behind it, so the core must send a key's messages one at a time."""
    return msgspec.structs.replace(can, sends_in_order=False)


class FaultySink:
    """A topic's way in, and where the story learns what was stored."""

    def __init__(self, inner: Sink, topic: str, faults: Faults, story: Story) -> None:
        self._inner = inner
        self._topic = topic
        self._faults = faults
        self._story = story

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        if self._faults.is_away:
            results: list[SendResult] = [Refused(AWAY, transient=True)] * len(messages)
        else:
            results = await self._send(messages, deadline)
        for message, result in zip(messages, results, strict=True):
            self._story.sent(self._topic, message, result)
        return results

    async def _send(self, messages: Sequence[Message], deadline: float) -> list[SendResult]:
        faults = [self._faults.take("send", self._topic, message) for message in messages]
        kept = [m for m, fault in zip(messages, faults, strict=True) if fault is None or fault.stored]
        answers = iter(await self._inner.send(kept, deadline=deadline) if kept else ())
        results: list[SendResult] = []
        for message, fault in zip(messages, faults, strict=True):
            result = next(answers) if fault is None or fault.stored else None
            if fault is not None:
                result = self._spoilt(message, fault, result)
            assert result is not None  # noqa: S101 - only a fault keeps a message from the broker inside
            results.append(result)
        return results

    def _spoilt(self, message: Message, fault: Fault, result: SendResult | None) -> SendResult:
        fault.fired += 1
        if fault.kind == "refuse":
            return Refused("the test wants it refused")
        if isinstance(result, Confirmed):
            self._story.stored(self._topic, message)
        return Unknown(f"the test wants the answer lost ({'stored' if fault.stored else 'not stored'})")
