"""One process that serves a registry over HTTP until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import time
from collections.abc import Callable, Generator
from pathlib import Path

import msgspec
import uvicorn
import uvloop

from waybill.errors import ConfigurationError
from waybill.serving import SAME
from waybill_schema_registry.engine.engine import Engine
from waybill_schema_registry.server.application import application
from waybill_schema_registry.server.options import Options
from waybill_schema_registry.server.protocol import protocol
from waybill_schema_registry.server.users import read_users
from waybill_schema_registry.stores.opening import open_store

__all__ = ["GRACE", "Serving", "check", "listener", "run", "serve"]

GRACE = 10
"""Seconds that requests have to be answered when the process is told to end."""
IDLE = 75
"""Seconds that a connection may be idle: longer than clients keep theirs, so that it is they who close."""
BACKLOG = 2048


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """All that a process is told. users: a file. administrator: `name:password`. head, body_time: seconds. worker: 0 if it is alone."""

    store: str
    host: str = "127.0.0.1"
    port: int = 8081
    certificate: str | None = None
    key: str | None = None
    key_password: str | None = None
    users: str | None = None
    administrator: str | None = None
    read_only: bool = False
    body: int = 16 * 1024 * 1024
    busy: int = 512
    connections: int = 10_000
    head_time: float = 10.0
    body_time: float = 60.0
    timeout: float = 30.0
    worker: int = 0


async def check(serving: Serving) -> None:
    """Raises what would keep it from serving: `ConfigurationError`, `StoreError`. The store is made or migrated by it."""
    _options(serving)
    _config(serving, None)
    async with Engine(open_store(serving.store)):
        pass


async def serve(
    serving: Serving,
    listening: socket.socket,
    ready: Callable[[], None] = lambda: None,
    stop: asyncio.Event | None = None,
) -> None:
    """Until SIGTERM or SIGINT, or until `stop` is set; a second signal does not wait for requests. ready: called when it
    listens. Raises what `check` raises."""
    engine = Engine(open_store(serving.store))
    app = application(engine, _options(serving))
    async with engine:
        server = _Server(_config(serving, app), ready, supervised=serving.worker > 0)
        watching = asyncio.create_task(_until(stop, server)) if stop is not None else None
        try:
            await server.serve(sockets=[listening])
        finally:
            if watching is not None:
                watching.cancel()


def run(serving: Serving, listening: socket.socket, ready: Callable[[], None] = lambda: None) -> None:
    """`serve` on an event loop of uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(serving, listening, ready))


def listener(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket that is bound. port 0: one that is free. shared: others may bind the same (SO_REUSEPORT), and the kernel deals
    connections out. Raises `ConfigurationError`.

    Its protocol is named, for only then is TCP_NODELAY set on what it accepts: without, an answer in two parts waits some
    40 ms for the client to acknowledge the first.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, number)
    except OSError as error:
        raise ConfigurationError(f"cannot listen at {host}:{port}: {error}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        fix = "Choose another --port" if error.errno != errno.EADDRNOTAVAIL else "--host is no address of this machine"
        raise ConfigurationError(f"cannot listen at {host}:{port}: {error.strerror}. {fix}.") from error
    return bound


class _Server(uvicorn.Server):
    """uvicorn, which here neither dies of the signal that ended it, nor is silent when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], *, supervised: bool) -> None:
        super().__init__(config)
        self._ready = ready
        self._supervised = supervised
        self._told = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def end(self, number: int) -> None:
        """In order; told twice, at once. A supervisor says SIGINT for that: service managers send SIGTERM to each process, too."""
        again = self.should_exit and time.monotonic() - self._told > SAME
        self.force_exit = self.force_exit or (number == signal.SIGINT if self._supervised else again)
        if not self.should_exit:
            self._told = time.monotonic()
        self.should_exit = True


async def _until(stop: asyncio.Event, server: _Server) -> None:
    await stop.wait()
    server.should_exit = True


def _options(serving: Serving) -> Options:
    users = read_users(None if serving.users is None else Path(serving.users), serving.administrator)
    return Options(
        users=users,
        read_only=serving.read_only,
        body=serving.body,
        busy=serving.busy,
        timeout=serving.timeout,
        worker=serving.worker or 1,
    )


def _config(serving: Serving, app: object) -> uvicorn.Config:
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        loop="uvloop",
        http=protocol(serving.head_time, serving.body_time, serving.connections),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=GRACE,
        ssl_certfile=serving.certificate,
        ssl_keyfile=serving.key,
        ssl_keyfile_password=serving.key_password,
    )
    if app is None:
        return config
    try:
        config.load()
    except OSError as error:
        named = f"{serving.certificate} or its key {serving.key}" if serving.key else serving.certificate
        raise ConfigurationError(f"the certificate {named} cannot be used: {error}") from error
    return config
