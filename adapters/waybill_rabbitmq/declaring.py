"""Looking at exchanges and queues, and making them, on channels that may break: each refusal ends one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from aiormq.exceptions import ChannelLockedResource, ChannelNotFoundEntity, ChannelPreconditionFailed

from waybill.errors import BrokerError, BrokerUnavailable, DestinationMissing
from waybill.foreign import NotPermitted, said
from waybill_rabbitmq.client import Channel, Inaccessible, unused
from waybill_rabbitmq.line import Line
from waybill_rabbitmq.mapping import mapped
from waybill_rabbitmq.objects import Binding, Exchange, Objects, Queue
from waybill_rabbitmq.survey import Different

__all__ = ["Found", "Hand"]

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds that a queue may be inaccessible: RabbitMQ 4.0 says that for a moment of one that somebody else is just making."""
PAUSE = 0.05
INEQUIVALENT = re.compile(r"inequivalent arg '([^']+)' for .*?: received (.*) but current is (.*)$")
VALUE = re.compile(r"^(?:the value )?'(.*?)'(?: of type '\w+')?$")
"""How the broker writes an argument, or a type."""


class Found(NamedTuple):
    """A queue that is there."""

    messages: int
    consumers: int


class Hand:
    """A channel to declare with, made anew after each refusal. An asynchronous context manager."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._channel: Channel | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._channel is not None and not self._channel.is_closed:
            with suppress(BrokerError), mapped("cannot close a channel"):
                await self._channel.close()

    def beside(self) -> Hand:
        """Another one on the same connection, to use at the same time."""
        return Hand(self._line)

    async def _with(self, doing: str, work: Callable[[Channel], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while True:
            if self._channel is None or self._channel.is_closed:
                self._channel = await self._line.channel()
            try:
                with mapped(doing):
                    return await work(self._channel)
            except BrokerUnavailable as error:
                if not isinstance(error.__cause__, Inaccessible) or loop.time() >= end:
                    raise
            await asyncio.sleep(PAUSE)

    # ---------------------------------------------------------------- looking

    async def queue(self, name: str) -> Found | None:
        """The queue, if it is there. One that belongs to another connection is, and how long it is nobody knows."""
        try:
            told = await self._with(f"queue {name}", lambda c: c.queue_declare(name, passive=True))
        except BrokerError as error:
            if isinstance(error.__cause__, ChannelNotFoundEntity):
                return None
            if isinstance(error.__cause__, ChannelLockedResource):
                return Found(0, 1)
            raise
        return Found(told.message_count or 0, told.consumer_count or 0)

    async def exchange(self, name: str) -> bool:
        try:
            await self._with(f"exchange {name}", lambda c: c.exchange_declare(name, passive=True))
        except BrokerError as error:
            if isinstance(error.__cause__, ChannelNotFoundEntity):
                return False
            raise
        return True

    async def visible(self, name: str) -> bool:
        """Whether we may look at a queue or exchange of this name: from 4.3 on, that takes some right to it."""
        try:
            await self.queue(name)
        except NotPermitted:
            return False
        return True

    async def has(self, item: Exchange | Queue) -> bool:
        return await self.exchange(item.name) if isinstance(item, Exchange) else await self.queue(item.name) is not None

    async def difference(self, item: Exchange | Queue) -> Different | None:
        """The first argument of what is there that is not as it should be; nothing where we may not ask."""
        try:
            await (self.make_exchange(item) if isinstance(item, Exchange) else self.make_queue(item))
        except NotPermitted:
            return None
        except BrokerError as error:
            found = INEQUIVALENT.search(said(error.__cause__)) if error.__cause__ else None
            if isinstance(error.__cause__, ChannelPreconditionFailed) and found:
                return Different(*(VALUE.sub(r"\1", text) for text in found.groups()))
            raise
        return None

    async def may_configure(self, queue: str) -> bool:
        """Asked by deleting the exchange of that name, of which there is none: rights are to names, and nothing is changed."""
        try:
            await self._with(f"exchange {queue}", lambda c: c.exchange_delete(queue, if_unused=True))
        except NotPermitted:
            return False
        return True

    async def may_write(self, exchange: str) -> bool:
        """Asked by unbinding what was never bound, which takes the right to write there and changes nothing."""
        try:
            await self._with(f"exchange {exchange}", lambda c: c.exchange_unbind(exchange, exchange, routing_key="/"))
        except NotPermitted as error:
            return "write access" not in str(error)
        except DestinationMissing:
            pass
        return True

    async def may_read(self, queue: str) -> bool:
        """Asked by consuming with an argument that cannot be, which the broker sees after the right to read."""
        nothing: dict[str, Any] = {"x-priority": "none"}
        try:
            await self._with(f"queue {queue}", lambda c: c.basic_consume(queue, unused, arguments=nothing))
        except NotPermitted:
            return False
        except BrokerError as error:
            if not isinstance(error.__cause__, ChannelPreconditionFailed | ChannelNotFoundEntity):
                raise
        return True

    # ---------------------------------------------------------------- making

    async def make(self, objects: Objects) -> None:
        """Make all of it that is not there yet."""
        for item in objects:
            if isinstance(item, Exchange):
                await self.make_exchange(item)
            elif isinstance(item, Queue):
                await self.make_queue(item)
            else:
                await self.bind(item)

    async def make_exchange(self, exchange: Exchange) -> None:
        await self._with(
            f"cannot declare exchange {exchange.name}",
            lambda c: c.exchange_declare(
                exchange.name,
                exchange_type=exchange.kind,
                durable=True,
                auto_delete=exchange.passing,
                arguments=_plain(exchange.arguments),
            ),
        )

    async def make_queue(self, queue: Queue) -> None:
        await self._with(
            f"cannot declare queue {queue.name}",
            lambda c: c.queue_declare(
                queue.name, durable=not queue.passing, exclusive=queue.passing, arguments=_plain(queue.arguments)
            ),
        )

    async def make_members(self, name: str) -> None:
        """A queue that goes with its last consumer, and counts them."""
        kind: dict[str, Any] = {"x-queue-type": "classic"}
        await self._with(
            f"cannot declare queue {name}",
            lambda c: c.queue_declare(name, durable=True, auto_delete=True, arguments=kind),
        )

    async def bind(self, binding: Binding) -> None:
        await self._with(
            f"cannot bind {binding.destination} to {binding.source}",
            lambda c: (c.queue_bind if binding.to == "queue" else c.exchange_bind)(*binding.ends),
        )

    async def unbind(self, binding: Binding) -> None:
        await self._with(
            f"cannot unbind {binding.destination} from {binding.source}",
            lambda c: (c.queue_unbind if binding.to == "queue" else c.exchange_unbind)(*binding.ends),
        )

    async def remove_queue(self, name: str) -> None:
        """Delete a queue that nothing is bound to any more. Raises `BrokerError` where it is not empty."""
        found = await self.queue(name)
        if found is not None and found.messages:
            raise BrokerError(f"queue {name} still has {found.messages} messages, and is not deleted")
        await self._with(f"cannot delete queue {name}", lambda c: c.queue_delete(name))


def _plain(arguments: Any) -> dict[str, Any]:
    return dict(arguments)
