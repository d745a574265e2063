"""An adapter as it is, but for what a test says of its ways."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from waybill.adapter import Adapter, Sink, Source
from waybill.message import Message
from waybill.outcomes import Refused, SendResult, Unknown
from waybill.topology import Destination, Subscription

__all__ = ["Between", "Sends"]


class Between:
    """An adapter that does all as the inner one, but for what a test says of its ways."""

    def __init__(
        self,
        inner: Adapter,
        *,
        settle: Any = None,
        send: Any = None,
        sink: Callable[[Sink], Sink] | None = None,
        admin: Any = None,
    ) -> None:
        self.admin = inner.admin if admin is None else admin
        self._inner, self._settle, self._send, self._sink = inner, settle, send, sink

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @contextlib.asynccontextmanager
    async def dead_letters(self, subscription: Subscription) -> AsyncGenerator[Source, None]:
        async with self._inner.dead_letters(subscription) as source:
            if self._settle is not None:
                source.settle = self._settle  # type: ignore[method-assign]
            yield source

    @contextlib.asynccontextmanager
    async def sink(self, destination: Destination) -> AsyncGenerator[Sink, None]:
        async with self._inner.sink(destination) as sink:
            between = sink if self._sink is None else self._sink(sink)
            yield between if self._send is None else Picky(between, self._send)


class Picky:
    """Answers so, instead of sending, where that is not what is refused by its id."""

    def __init__(self, inner: Sink, answer: str | Unknown) -> None:
        self._inner, self._answer = inner, answer

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        if isinstance(self._answer, Unknown):
            return [self._answer] * len(messages)
        keys = {message.key for message in messages if message.id == self._answer}
        good = [message for message in messages if message.key not in keys]
        taken = iter(await self._inner.send(good, deadline=deadline) if good else ())
        return [Refused("too large") if message.key in keys else next(taken) for message in messages]


class Sends:
    """Does something after each send."""

    def __init__(self, inner: Sink, then: Callable[[Sequence[Message]], object]) -> None:
        self._inner, self._then = inner, then

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        results = await self._inner.send(messages, deadline=deadline)
        self._then(messages)
        return results
