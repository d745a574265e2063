"""aiormq as this adapter uses it: frames decoded with suspicion, publishes in lots, deliveries without a task each.

A message that nobody can decode (a header that is no UTF-8, a date in the year 292 million) is the affair of whoever
wants to read it: here its properties stay bytes, so it cannot end the connection. Everything is done in subclasses, for our
connections alone; other users of the library in the same process notice nothing. See docs/adr/0017.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import Any

import aiormq
import aiormq.channel
import aiormq.connection
from aiormq.abc import ChannelFrame
from aiormq.channel import exception_by_code
from aiormq.connection import exception_by_code as why_closed
from aiormq.exceptions import (
    AMQPChannelError,
    AMQPConnectionError,
    AMQPError,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    InvalidFrameError,
)
from pamqp import commands as spec
from pamqp import frame as frames
from pamqp.body import ContentBody
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

__all__ = ["Channel", "Connection", "Delivered", "Inaccessible", "RawHeader", "refusal", "unused"]

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
CONTENT = frozenset({HEADER, BODY})
DELIVER = b"\x00\x3c\x00\x3c"
HEAD = struct.Struct(">BHI")
CHUNK = 1 << 18
"""Bytes that are handed to the socket before it is asked whether it takes more."""


class Inaccessible(AMQPChannelError):
    """The queue is there, and cannot be used: its server is down, it has crashed, or somebody else is just making it. The
    broker's number for it (404) is that of a queue that is not there; of such a one it says that there is "no" such."""


def refusal(frame: spec.Channel.Close) -> AMQPError:
    """Why the broker closed the channel."""
    error = exception_by_code(frame)
    if isinstance(error, ChannelNotFoundEntity) and not (frame.reply_text or "").startswith("NOT_FOUND - no "):
        return Inaccessible(frame.reply_text)
    return error


class RawHeader(ContentHeader):
    """A content header of which only the size of the body is known. `raw`: the flags and properties that follow it."""

    def __init__(self, payload: bytes) -> None:
        self.body_size = int.from_bytes(payload[4:12])
        self.raw = payload[12:]


class Delivered(spec.Basic.Deliver):
    """`Basic.Deliver`, whatever bytes its routing key has."""

    def __init__(self, payload: bytes) -> None:
        tag_end = 5 + payload[4]
        self.consumer_tag = payload[5:tag_end].decode()  # we gave it
        self.delivery_tag = int.from_bytes(payload[tag_end : tag_end + 8])
        self.redelivered = bool(payload[tag_end + 8] & 1)
        exchange_end = tag_end + 10 + payload[tag_end + 9]
        self.exchange = payload[tag_end + 10 : exchange_end].decode("utf-8", "replace")
        self.routing_key = payload[exchange_end + 1 :].decode("utf-8", "replace")
        self.header: RawHeader
        self.body = b""
        self._parts: list[bytes] = []
        self._left = 0

    def take(self, kind: int, payload: bytes) -> bool:
        """Take what follows: the header, then the body in its parts. Whether that is all."""
        if kind == HEADER:
            self.header = RawHeader(payload)
            self._left = self.header.body_size
        else:
            self._parts.append(payload)
            self._left -= len(payload)
        if self._left > 0:
            return False
        self.body = b"".join(self._parts)
        return True


Deliver = Callable[[Delivered, RawHeader, bytes], None]


class Receiver(aiormq.connection.FrameReceiver):
    """Reads frames, and decodes of a message no more than where it ends. A delivery is one frame, with all that is its."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self._begun: dict[int, Delivered] = {}
        """Deliveries of which more is to come, by channel: others' frames may be among theirs."""

    async def get_frame(self) -> tuple[int, int, Any]:
        while True:
            kind, channel, payload = await self._next()
            if kind == METHOD and payload.startswith(DELIVER):
                self._begun[channel] = Delivered(payload)
                continue
            begun = self._begun.get(channel) if kind in CONTENT else None
            if begun is None:
                return len(payload), channel, _decoded(kind, channel, payload)
            if begun.take(kind, payload):
                del self._begun[channel]
                return len(begun.body), channel, begun

    async def _next(self) -> tuple[int, int, bytes]:
        try:
            kind, channel, size = HEAD.unpack(await self.reader.readexactly(7))
            payload = await self.reader.readexactly(size + 1)
        except asyncio.IncompleteReadError as error:
            raise AMQPConnectionError("the broker closed the connection") from error
        except OSError as error:
            raise AMQPConnectionError(f"the connection broke: {error}") from error
        if payload[-1] != 0xCE:
            raise InvalidFrameError("a frame does not end where it should")
        return kind, channel, payload[:-1]


def _decoded(kind: int, channel: int, payload: bytes) -> Any:
    if kind == BODY:
        return ContentBody(payload)
    if kind == HEADER:
        return RawHeader(payload)
    if kind == HEARTBEAT:
        return Heartbeat()
    return frames.unmarshal(HEAD.pack(kind, channel, len(payload)) + payload + b"\xce")[2]


class Channel(aiormq.channel.Channel):
    """A channel that calls back: of deliveries, confirms, returns and cancelled consumers, in the order they come."""

    def __init__(self, connection: Connection, number: int, *, confirms: bool) -> None:
        super().__init__(
            connection, number, publisher_confirms=confirms, frame_buffer=aiormq.Connection.FRAME_BUFFER_SIZE
        )
        self.on_delivery: dict[str, Deliver] = {}
        self.on_confirm: Callable[[int, bool, bool], None] = lambda _tag, _multiple, _stored: None
        self.on_return: Callable[[RawHeader, str], None] = lambda _header, _reason: None
        self.published = 0
        """The number of the last publish: what confirms refer to."""
        library: Any = connection
        self._writing: asyncio.Queue[ChannelFrame] = library.write_queue
        self._turn = asyncio.Lock()
        self._ended = False

    def when_gone(self, tell: Callable[[BaseException | None], None]) -> None:
        """Call this once when the channel has closed, with what ended it."""

        def ended(closing: asyncio.Future[Any]) -> None:
            tell(None if closing.cancelled() else closing.exception())

        library: Any = self  # of whose types much is left open
        library.closing.add_done_callback(ended)

    async def consume(self, queue: str, deliver: Deliver, *, tag: str, arguments: dict[str, Any] | None = None) -> None:
        self.on_delivery[tag] = deliver
        await self.basic_consume(queue, unused, consumer_tag=tag, arguments=arguments)

    async def write(self, parts: Sequence[bytes]) -> None:
        """Hand these frames to the socket, and wait until it takes more. Raises what the connection raises."""
        lot: list[bytes] = []
        size = 0
        for part in parts:
            lot.append(part)
            size += len(part)
            if size >= CHUNK:
                await self._write(lot)
                lot, size = [], 0
        if lot:
            await self._write(lot)

    async def _write(self, lot: list[bytes]) -> None:
        library: Any = self
        drained = library.create_future()
        await self._put(ChannelFrame(b"".join(lot), should_close=False, drain_future=drained))
        await drained

    async def _put(self, frame: ChannelFrame) -> None:
        async with self._turn:
            if self._ended:
                raise ChannelInvalidStateError("the broker has closed the channel")
            await self._writing.put(frame)

    def submit(self, payload: bytes) -> None:
        """Write without waiting: at once, or when the socket has taken what is before it."""
        if self._ended:
            return
        frame = ChannelFrame(payload, should_close=False)
        try:
            self._writing.put_nowait(frame)
        except asyncio.QueueFull:
            library: Any = self
            library.create_task(self._put(frame))

    async def _on_close_frame(self, frame: spec.Channel.Close) -> None:
        """Answer surely, and let nothing follow the answer: either would end the connection, and all other channels."""
        self._ended = True
        library: Any = self
        frames: Any = ChannelFrame
        async with self._turn:
            await self._writing.put(frames.marshall(self.number, [spec.Channel.CloseOk()]))
        library._close_exception = error = refusal(frame)
        library._Channel__close_event.set()
        raise error

    async def _on_deliver_frame(self, frame: spec.Basic.Deliver) -> None:
        deliver = self.on_delivery.get(frame.consumer_tag or "")
        if deliver is not None and isinstance(frame, Delivered):
            deliver(frame, frame.header, frame.body)

    async def _on_return_frame(self, frame: spec.Basic.Return) -> None:
        header: Any = await self._get_frame()
        await self._read_content(frame, header)
        self.on_return(header, frame.reply_text or "")

    async def _on_confirm_frame(self, frame: Any) -> None:
        self.on_confirm(frame.delivery_tag, bool(frame.multiple), isinstance(frame, spec.Basic.Ack))


async def unused(_: object) -> None:
    """aiormq wants a callback for each consumer; ours is called without a task."""


class Entrance:
    """What comes while a virtual host is opened: a broker that closes instead says why, and the library does not read it."""

    def __init__(self, receiver: aiormq.connection.FrameReceiver) -> None:
        self._receiver = receiver

    async def get_frame(self) -> tuple[int, int, Any]:
        size, channel, frame = await self._receiver.get_frame()
        if isinstance(frame, spec.Connection.Close):
            raise why_closed(frame)
        return size, channel, frame


class Connection(aiormq.connection.Connection):
    """A connection whose channels are ours, and that says when the broker takes nothing."""

    blocked: str | None = None
    """Why the broker takes nothing that is published now, in its words; `None`: it does."""

    async def open_channel(self, *, confirms: bool = False) -> Channel:
        if self.is_closed:
            raise AMQPConnectionError("the connection is closed")
        number = next(n for n in range(1, 65536) if n not in self.channels)
        channel = Channel(self, number, confirms=confirms)
        self.channels[number] = channel
        await channel.open()
        return channel

    @staticmethod
    async def _rpc(request: Any, writer: Any, frame_receiver: Any, wait_response: bool = True) -> Any:
        receiver = Entrance(frame_receiver) if isinstance(request, spec.Connection.Open) else frame_receiver
        library: Any = aiormq.connection.Connection
        return await library._rpc(request, writer, receiver, wait_response)

    async def _Connection__reader(self, receiver: aiormq.connection.FrameReceiver) -> None:  # noqa: N802
        receiver = Receiver(receiver.reader)
        receiver.started = True
        await super()._Connection__reader(receiver)  # type: ignore[misc]

    async def _Connection__handle_connection_blocked(self, frame: spec.Connection.Blocked) -> None:  # noqa: N802
        await super()._Connection__handle_connection_blocked(frame)  # type: ignore[misc]
        self.blocked = frame.reason or "the broker has not said why"

    async def _Connection__handle_connection_unblocked(self, frame: spec.Connection.Unblocked) -> None:  # noqa: N802
        await super()._Connection__handle_connection_unblocked(frame)  # type: ignore[misc]
        self.blocked = None
