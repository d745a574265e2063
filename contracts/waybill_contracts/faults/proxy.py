"""A TCP proxy that stands before a broker and does to its connections what networks do.

    async with Proxy("127.0.0.1", 7000) as link:        # clients use link.port
        with link.replies_held():                       # requests pass, replies wait
            ...
        link.cut()                                      # every connection is reset

It runs in a thread of its own, so that a test whose event loop is blocked does not stop it. Its verbs may be called from
any thread; each has happened when it returns.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

__all__ = ["Proxy"]

T = TypeVar("T")

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset, and what was not sent yet is dropped."""
CHUNK = 1 << 16


@dataclass
class Way:
    """One direction of all connections."""

    passes: asyncio.Event = field(default_factory=asyncio.Event)
    latency: float = 0.0
    jitter: float = 0.0
    rate: float | None = None
    left: int | None = None
    """Bytes that may still pass before every connection is cut."""

    def __post_init__(self) -> None:
        self.passes.set()


class Proxy:
    """Before `host`:`port`; listens on `listen`, by default any port. The verbs hold for all connections at once."""

    def __init__(self, host: str, port: int, *, listen: int = 0, seed: int = 0) -> None:
        """`seed`: of the jitter."""
        self.host = "127.0.0.1"
        self.port = listen
        self._target = (host, port)
        self._chance = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="waybill-proxy", daemon=True)
        self._requests, self._replies = Way(), Way()
        self._server: asyncio.Server | None = None
        self._accepted = 0
        self._open: dict[asyncio.Task[Any], tuple[asyncio.StreamWriter, ...]] = {}

    async def __aenter__(self) -> Self:
        self._thread.start()
        self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._in_loop, self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._loop.close()

    # ---------------------------------------------------------------- the verbs

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    @property
    def accepted(self) -> int:
        """How many there have been."""
        return self._accepted

    def cut(self) -> None:
        """Reset every connection, towards both sides. New ones are accepted."""
        self._in_loop(self._cut)

    def half_close(self) -> None:
        """End every connection towards its client, who may still send."""

        async def end() -> None:
            for client, *_ in self._open.values():
                client.write_eof()

        self._in_loop(end)

    def refuse(self) -> None:
        """Refuse new connections. Those that are open stay."""

        self._in_loop(self._stop)

    def accept(self) -> None:
        """Accept new connections again."""

        async def listen() -> None:
            if self._server is None:
                self._server = await asyncio.start_server(self._serve, self.host, self.port)
                self.port = self._server.sockets[0].getsockname()[1]

        self._in_loop(listen)

    def cut_after(self, count: int | None, *, requests: bool = True) -> None:
        """Cut every connection once so many more bytes have passed towards the broker (or back, `requests=False`); `None`:
        do not. It happens once."""
        self._set(lambda: setattr(self._requests if requests else self._replies, "left", count))

    @contextmanager
    def replies_held(self) -> Generator[None]:
        """Requests pass, replies wait until the end of the block."""
        with self._held(self._replies):
            yield

    @contextmanager
    def silent(self) -> Generator[None]:
        """Nothing passes in either direction until the end of the block; connections are accepted and stay open."""
        with self._held(self._requests, self._replies):
            yield

    @contextmanager
    def away(self) -> Generator[None]:
        """Every connection is cut, and new ones are refused until the end of the block."""
        self.refuse()
        self.cut()
        try:
            yield
        finally:
            self.accept()

    @contextmanager
    def slow(self, latency: float, jitter: float = 0.0) -> Generator[None]:
        """Everything arrives `latency` seconds later, give or take `jitter`, in either direction."""
        with self._changed(latency=latency, jitter=jitter):
            yield

    @contextmanager
    def throttled(self, rate: float) -> Generator[None]:
        """At most `rate` bytes a second pass in each direction."""
        with self._changed(rate=rate):
            yield

    # ---------------------------------------------------------------- in its own thread

    def _in_loop(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(make(), self._loop).result(30)

    def _set(self, change: Callable[[], None]) -> None:
        async def apply() -> None:
            change()

        self._in_loop(apply)

    @contextmanager
    def _held(self, *ways: Way) -> Generator[None]:
        self._set(lambda: _each(ways, lambda way: way.passes.clear()))
        try:
            yield
        finally:
            self._set(lambda: _each(ways, lambda way: way.passes.set()))

    @contextmanager
    def _changed(self, **values: float) -> Generator[None]:
        plain = Way()

        def change(new: dict[str, Any]) -> None:
            for way in (self._requests, self._replies):
                for name, value in new.items():
                    setattr(way, name, value)

        self._set(lambda: change(values))
        try:
            yield
        finally:
            self._set(lambda: change({name: getattr(plain, name) for name in values}))

    async def _cut(self) -> None:
        for task, writers in list(self._open.items()):
            for writer in writers:
                _reset(writer)
            task.cancel()

    async def _stop(self) -> None:
        """Who was accepted is served first: asyncio leaves open who it hands to a server that has closed (CPython issue 109564)."""
        if self._server is not None:
            for listening in self._server.sockets:
                self._loop.remove_reader(listening.fileno())
            await asyncio.sleep(0)
            self._server.close()
            self._server = None

    async def _close(self) -> None:
        await self._stop()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.sleep(0)  # who was just accepted is served from here on, and so is cut
            await self._cut()
            await asyncio.wait(others, timeout=0.1)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = (client,)
        self._accepted += 1
        pumps: list[asyncio.Task[None]] = []
        try:
            answers, broker = await asyncio.open_connection(*self._target)
            self._open[task] = (client, broker)
            pumps += [
                asyncio.create_task(self._pump(reader, broker, self._requests)),
                asyncio.create_task(self._pump(answers, client, self._replies)),
            ]
            await asyncio.wait(pumps)
        except OSError:  # the broker is not there: so it is for the client
            pass
        except asyncio.CancelledError:  # the connection is cut, which is nobody's failure
            for pump in pumps:
                pump.cancel()
        finally:
            for writer in self._open.pop(task):
                writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        """One reads and says when it is due, the other one writes it then; so that latency is not the time between two."""
        due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=64)
        writing = asyncio.create_task(self._write(due, writer, way))
        at = 0.0
        try:
            while True:
                with suppress(ConnectionError):
                    data = await reader.read(_piece(way))
                    at = max(at, self._loop.time() + max(0.0, self._lateness(way)))
                    await due.put((at, data))
                    if data:
                        continue
                    await writing
                    return
                writer.transport.abort()  # one side was reset: so is the other
                return
        finally:
            writing.cancel()

    def _lateness(self, way: Way) -> float:
        return way.latency + self._chance.uniform(-way.jitter, way.jitter) if way.latency else 0.0

    async def _write(self, due: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, way: Way) -> None:
        while True:
            at, data = await due.get()
            await asyncio.sleep(max(0.0, at - self._loop.time()))
            await way.passes.wait()
            with suppress(OSError, RuntimeError):  # the other side has gone; its reader says so
                if data:
                    await self._pass(data, writer, way)
                else:
                    writer.write_eof()
            if not data:
                return

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter, way: Way) -> None:
        if way.left is not None and way.left <= len(data):
            writer.write(data[: way.left])
            way.left = None
            await writer.drain()
            await self._cut()
            return
        if way.left is not None:
            way.left -= len(data)
        while data:  # the rate may have come after what was read
            piece, data = data[: _piece(way)], data[_piece(way) :]
            writer.write(piece)
            await writer.drain()
            if way.rate is not None:
                await asyncio.sleep(len(piece) / way.rate)


def _piece(way: Way) -> int:
    """Bytes to take at once."""
    return CHUNK if way.rate is None else max(1, min(CHUNK, int(way.rate / 10)))


def _each(ways: tuple[Way, ...], change: Callable[[Way], None]) -> None:
    for way in ways:
        change(way)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):  # it has ended meanwhile
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
