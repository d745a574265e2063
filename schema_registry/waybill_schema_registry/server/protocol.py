"""HTTP/1.1 by uvicorn and httptools, with bounds on what a slow or a malicious client can hold.

head is not whole ──head_time──▶ 408, closed        head longer than HEAD ──▶ 431, closed
body is not whole ──body_time──▶ closed
client does not read its answer ──body_time──▶ aborted
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

__all__ = ["protocol"]

HEAD = 64 * 1024
"""Bytes of a request's line and headers."""
REFUSED = (
    b"HTTP/1.1 %s\r\ncontent-type: application/vnd.schemaregistry.v1+json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s"
)


def protocol(head_time: float, body_time: float, connections: int) -> type[HttpToolsProtocol]:
    """The class for `uvicorn.Config(http=…)`. Times in seconds. connections: more than so many are closed at once."""

    class Protocol(HttpToolsProtocol):
        def __init__(
            self,
            config: Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(config, server_state, app_state, _loop)
            self._head = 0
            self._late: asyncio.TimerHandle | None = None
            self._in_body = False
            self._writing: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > connections:
                transport.abort()
            self._expect(head_time, transport.close)

        def connection_lost(self, exc: Exception | None) -> None:
            self._expect_nothing()
            self.resume_writing()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            cycle = self.cycle
            if cycle is None or cycle.scope is not self.scope:  # pyright: ignore[reportUnnecessaryComparison] - at first it is None
                self._more_head(len(data))
            elif cycle.more_body:
                self._more_body()
            elif self._late is not None:
                self._expect_nothing()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._writing = self.loop.call_later(body_time, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._writing is not None:
                self._writing.cancel()
                self._writing = None

        def _more_head(self, length: int) -> None:
            if not self._head:
                self._expect(head_time, self._too_slow)
            self._head += length
            if self._head > HEAD:
                self._refuse(b"431 Request Header Fields Too Large", b"The head of the request is too large")

        def _more_body(self) -> None:
            if not self._in_body:
                self._in_body = True
                self._expect(body_time, self.transport.close)

        def _expect(self, time: float, otherwise: Callable[[], None]) -> None:
            if self._late is not None:
                self._late.cancel()
            self._late = self.loop.call_later(time, otherwise)

        def _expect_nothing(self) -> None:
            self._head = 0
            self._in_body = False
            if self._late is not None:
                self._late.cancel()
                self._late = None

        def _too_slow(self) -> None:
            self._refuse(b"408 Request Timeout", b"The request took too long to arrive")

        def _refuse(self, status: bytes, text: bytes) -> None:
            if not self.transport.is_closing():
                body = b'{"error_code":%s,"message":"%s"}' % (status[:3], text)
                self.transport.write(REFUSED % (status, len(body), body))
                self.transport.close()

    return Protocol
