"""A registry as its users hold it: in this process or over HTTP, asynchronous or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waybill_schema_registry.client.access import Access
    from waybill_schema_registry.client.registry import Registry

__all__ = ["open"]


def open(url: str, access: Access | None = None) -> Registry:  # noqa: A001 - read as `client.open`
    """`Registry(url, access)`, a `RegistryClient`."""
    from waybill_schema_registry.client.registry import Registry  # noqa: PLC0415 - loaded when it is used

    return Registry(url, access)
