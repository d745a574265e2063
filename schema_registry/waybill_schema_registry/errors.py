"""What goes wrong in a registry, with Confluent's codes.

WaybillError
└── RegistryError          code and text, as the REST API answers them
    ├── NotFound           404xx
    ├── Conflict           409xx
    │   └── Incompatible   40901: with the report
    ├── Invalid            422xx
    │   └── InvalidSchema  42201
    ├── Forbidden          401, 403: who asks may not
    ├── StoreError         50001
    └── RegistryUnavailable  the registry cannot be reached now; trying again may help
        └── NoRegistry       something else answers there: the URL leads elsewhere
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from waybill.errors import WaybillError

if TYPE_CHECKING:
    from waybill_schema_registry.compatibility import LevelReport

__all__ = [
    "Conflict",
    "Forbidden",
    "Incompatible",
    "Invalid",
    "InvalidSchema",
    "NoRegistry",
    "NotFound",
    "RegistryError",
    "RegistryUnavailable",
    "StoreError",
]


class RegistryError(WaybillError):
    """code: Confluent's `error_code`; its first three digits are the HTTP status."""

    code = 50001

    def __init__(self, text: str, *, code: int | None = None) -> None:
        super().__init__(text)
        if code is not None:
            self.code = code


class NotFound(RegistryError):
    """There is no such subject, version, schema or setting."""

    code = 40403


class Conflict(RegistryError):
    """It contradicts what is there."""

    code = 40901


class Incompatible(Conflict):
    """A new version breaks what its subject's level promises. report: what, where, and what to do."""

    def __init__(self, text: str, report: LevelReport | None = None) -> None:
        super().__init__(text)
        self.report = report


class Invalid(RegistryError):
    """What was asked for cannot be done as it was asked."""

    code = 42201


class InvalidSchema(Invalid):
    """A schema that is none, or that is refused: too large, too deep, or a trap for decoders."""


class Forbidden(RegistryError):
    """Who asks is not known (401), or may not do this (403)."""

    code = 403


class StoreError(RegistryError):
    """The store does not answer, is full, or is not what it should be. Whether the last write was kept is not known."""


class RegistryUnavailable(RegistryError):
    """The registry cannot be reached now, or answers that it cannot. Trying again may help."""

    code = 50301


class NoRegistry(RegistryUnavailable):
    """What answers is no registry: its URL leads elsewhere. It says nothing about any schema."""
