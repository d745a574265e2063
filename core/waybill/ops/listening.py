"""HTTP inside the event loop of a process that consumes. What goes wrong here never ends that process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from waybill.errors import ConfigurationError
from waybill.ops.places import host_and_port
from waybill.settling import back_off

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ModuleNotFoundError as lacking:
    raise ConfigurationError(
        "answering operators over HTTP needs its extra. Install it with: pip install 'waybill[ops]'"
    ) from lacking

__all__ = ["address", "listening"]

log = logging.getLogger("waybill.ops")

GRACE = 1.0
"""Seconds that requests have to be answered at the end."""
PATIENCE = 10.0
"""Seconds that a connection may take to ask, and be answered, and ask again."""
MOST = 100
"""Connections at once."""


def address(text: str, worker: int = 0) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, for the worker of this number: each takes the port after the one before.

    Port 0: one that is free. Raises `ConfigurationError`.
    """
    host, port = host_and_port(text, f"ops={text!r}")
    if port and (port := port + max(0, worker - 1)) > 65535:
        raise ConfigurationError(f"ops={text!r}: there is no port for worker {worker}: begin with a lower one")
    return host, port


@contextlib.asynccontextmanager
async def listening(
    asgi: Any, host: str, port: int, on_url: Callable[[str | None], None] = lambda _: None
) -> AsyncGenerator[None, None]:
    """Serve `asgi` there for as long as the block lasts. on_url: told where it listens, and `None` when it does not.

    Where it cannot listen, since the port is taken for instance, that is logged and tried again.
    """
    serving = _Serving(asgi, host, port, on_url)
    task = asyncio.create_task(serving.serve(), name="waybill-ops")
    try:
        yield
    finally:
        serving.end()
        if not (await asyncio.wait({task}, timeout=GRACE + 1.0))[0]:
            task.cancel()
            await asyncio.wait({task})


class _Serving:
    def __init__(self, asgi: Any, host: str, port: int, on_url: Callable[[str | None], None]) -> None:
        self._asgi = asgi
        self._host = host
        self._port = port
        self._on_url = on_url
        self._ended = asyncio.Event()
        self._server: _Server | None = None

    def end(self) -> None:
        self._ended.set()
        if self._server is not None:
            self._server.should_exit = True

    async def serve(self) -> None:
        failures = 0
        while not self._ended.is_set():
            try:
                with _bound(self._host, self._port) as bound:
                    await self._answer(bound)
                failures = 0
            except OSError as error:
                failures += 1
                if failures == 1:  # a port that stays taken is said once, and tried again in silence
                    log.warning(
                        "operators are not answered at %s:%d: %s; it is tried again. The setting ops (WAYBILL_OPS) names another",
                        self._host, self._port, error.strerror or error,
                    )  # fmt: skip
            except (Exception, SystemExit):  # of the server itself: those of an answer it tells by itself
                failures += 1
                log.exception("operators are not answered at %s:%d", self._host, self._port)
            finally:
                self._on_url(None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(back_off(failures)):
                    await self._ended.wait()

    async def _answer(self, bound: socket.socket) -> None:
        self._server = _Server(_config(self._asgi))
        if self._ended.is_set():
            return
        host, port = bound.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        log.info("operators are answered at %s", url)
        self._on_url(url)
        await self._server.serve(sockets=[bound])


class _Server(uvicorn.Server):
    """uvicorn, which here leaves signals to the process that it is a part of."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class _Connection(H11Protocol):
    """Closed when it takes too long, or is the oldest of too many: it holds a file descriptor of a process that needs
    those for its work. The newest is let in, since it may be a probe.
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()
        others = [
            each for each in self.connections if isinstance(each, _Connection) and not each.transport.is_closing()
        ]
        if len(others) > MOST:
            min(others, key=_Connection._ends).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._late is not None:
            self._late.cancel()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def _wait(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = self.loop.call_later(PATIENCE, self.transport.abort)

    def _ends(self) -> float:
        return 0.0 if self._late is None else self._late.when()


def _bound(host: str, port: int) -> socket.socket:
    """Raises `OSError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    bound = socket.socket(*found[:3])
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(found[4])
    except OSError:
        bound.close()
        raise
    return bound


def _config(asgi: Any) -> uvicorn.Config:
    return uvicorn.Config(
        asgi,
        http=_Connection,
        loop="none",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=int(GRACE),
    )
