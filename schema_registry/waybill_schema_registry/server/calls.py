"""A request as ASGI brings it, taken apart as far as every operation needs it."""

from __future__ import annotations

from urllib.parse import quote

from starlette.types import Scope

from waybill_schema_registry.server.asking import decoded, in_context
from waybill_schema_registry.server.kept import Key

__all__ = ["Call"]


class Call:
    """segments: of the path, not decoded. context: `:.context:` where the path began with `/contexts/…/`."""

    __slots__ = ("accept", "authorization", "client", "content_type", "method", "path", "query", "segments")

    def __init__(self, scope: Scope) -> None:
        self.method: str = scope["method"]
        self.path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
        self.query: bytes = scope["query_string"]
        self.client = (scope.get("client") or ("?",))[0]
        self.accept = self.content_type = b""
        self.authorization: bytes | None = None
        for name, value in scope["headers"]:
            if name == b"accept":
                self.accept = value
            elif name == b"content-type":
                self.content_type = value
            elif name == b"authorization":
                self.authorization = value
        self.segments = _segments(self.path.decode("latin-1").removeprefix(quote(scope.get("root_path", ""))))

    def key(self, body: bytes) -> Key:
        """What an answer is kept by."""
        return self.method, self.path, self.query, self.accept, body

    def take_context(self) -> str:
        """Take `/contexts/{context}` off where more comes after it; that context as `:.context:`."""
        if len(self.segments) < 3 or self.segments[0] != "contexts":
            return ""
        context = in_context(decoded(self.segments[1]))
        self.segments = self.segments[2:]
        return context


def _segments(path: str) -> list[str]:
    """A slash at the end changes nothing."""
    segments = path.split("/")[1:]
    return segments[:-1] if segments and not segments[-1] else segments
