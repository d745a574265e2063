"""From a URL to the adapter that answers to its scheme, through the entry-point group `waybill.adapters`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

import msgspec

from waybill.adapter import Adapter
from waybill.clock import Clock
from waybill.errors import AdapterNotFound

__all__ = ["AdapterContext", "AdapterFactory", "open_adapter"]

PLANNED = {"amqp": "RabbitMQ", "amqps": "RabbitMQ", "kafka": "Kafka", "sqs": "SQS and SNS"}
"""Adapters of ours that are not part of this version."""


class AdapterContext(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter is told besides its URL."""

    application: str
    clock: Clock
    options: Mapping[str, Mapping[str, Any]]
    """The `[broker.…]` tables; each adapter reads its own and checks it."""


AdapterFactory: TypeAlias = Callable[[str, AdapterContext], Adapter]
"""What an entry point of `waybill.adapters` names. Does no I/O; raises `ConfigurationError` for a URL it cannot use."""


def open_adapter(url: str, context: AdapterContext) -> Adapter:
    """The adapter for `url`, not yet connected. Raises `AdapterNotFound`, naming what to install."""
    scheme = urlsplit(url).scheme
    found = {point.name: point for point in entry_points(group="waybill.adapters")}
    if scheme not in found:
        known = ", ".join(f"{name}://" for name in sorted(found)) or "none"
        if scheme in PLANNED:
            raise AdapterNotFound(
                f"the adapter for {PLANNED[scheme]} is not part of this version. Installed are: {known}"
            )
        if not scheme:
            raise AdapterNotFound(f"{url!r} names no broker; for a file write sqlite:///{url}. Installed are: {known}")
        raise AdapterNotFound(f"no adapter for {scheme}:// is installed. Check the URL. Installed are: {known}")
    factory = cast("AdapterFactory", found[scheme].load())
    return factory(url, context)
