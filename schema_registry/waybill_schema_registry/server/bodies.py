"""The bodies of requests, bounded one by one and together."""

from __future__ import annotations

from starlette.types import Receive

from waybill_schema_registry.server.failures import Refused

__all__ = ["Bodies"]

TOO_LARGE = "The body is larger than the {} bytes that this server reads"
FULL = "The server is reading as much as it may at once. Try again in a moment."


class Bodies:
    """limit: bytes of one body. together: bytes of all that are being read."""

    def __init__(self, limit: int, together: int) -> None:
        self._limit = limit
        self._together = together
        self._reading = 0

    async def read(self, receive: Receive) -> bytes:
        """Raises `Refused` (408, 413, 503)."""
        parts: list[bytes] = []
        size, more = 0, True
        try:
            while more:
                part, more = await _next(receive)
                size += len(part)
                self._reading += len(part)
                parts.append(part)
                if size > self._limit:
                    raise await _refused(413, TOO_LARGE.format(self._limit), receive, more, 3 * self._limit)
                if self._reading > self._together:
                    raise await _refused(503, FULL, receive, more, self._limit)
        finally:
            self._reading -= size
        return parts[0] if len(parts) == 1 else b"".join(parts)


async def _next(receive: Receive) -> tuple[bytes, bool]:
    """A part of the body, and whether there is more."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Refused(408)
    return message.get("body", b""), message.get("more_body", False)


async def _refused(code: int, text: str, receive: Receive, more: bool, most: int) -> Refused:
    """What to raise, once the rest was read and thrown away: a client that still sends would not hear it."""
    while more and most > 0:
        part, more = await _next(receive)
        most -= len(part)
    return Refused(code, text)
