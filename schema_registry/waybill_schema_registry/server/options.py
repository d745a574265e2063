"""What a server is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass, field

from waybill_schema_registry.server.users import Users

__all__ = ["Options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """body: bytes of a request. bodies: bytes of all requests that are being read. busy: requests at once; more are answered
    503. timeout: seconds of an operation. kept: bytes of answers that are kept. worker: its number, for the metrics.
    """

    users: Users = field(default_factory=Users)
    read_only: bool = False
    body: int = 16 * 1024 * 1024
    bodies: int = 256 * 1024 * 1024
    busy: int = 512
    timeout: float = 30.0
    kept: int = 64 * 1024 * 1024
    worker: int = 1
