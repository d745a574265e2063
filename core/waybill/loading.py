"""From a URL to the adapter that answers to its scheme, through the entry-point group `waybill.adapters`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import entry_points
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

import msgspec

from waybill.adapter import Adapter
from waybill.clock import Clock
from waybill.errors import AdapterNotFound, ConfigurationError

__all__ = ["AdapterContext", "AdapterFactory", "check_tables", "open_adapter", "use_adapter"]

EXTRAS = {"amqp": "rabbitmq", "amqps": "rabbitmq", "kafka": "kafka", "kafka+ssl": "kafka", "sqs": "sqs"}
"""The extra that brings what our adapter for a scheme needs."""


class AdapterContext(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter is told besides its URL."""

    application: str
    clock: Clock
    options: Mapping[str, Mapping[str, Any]]
    """The `[broker.…]` tables; each adapter reads its own (`waybill.tables.read_table`), which is named as its package is,
    without `waybill_`."""
    create: bool = True
    """Whether a broker that is a file and is not there is made; else it is a `BrokerFileError`."""


AdapterFactory: TypeAlias = Callable[[str, AdapterContext], Adapter]
"""What an entry point of `waybill.adapters` names. Does no I/O; raises `ConfigurationError` for a URL it cannot use."""


_used: dict[str, AdapterFactory] = {}


def use_adapter(scheme: str, factory: AdapterFactory) -> None:
    """Let URLs of this scheme mean this adapter, in this process: for an adapter that is not installed, as in its tests."""
    _used[scheme] = factory


def check_tables(names: Collection[str]) -> None:
    """The `[broker.…]` tables of the settings, each of which must be some adapter's. Raises `ConfigurationError`.

    An adapter's table is named as its package is, without `waybill_`: `[broker.embedded]`.
    """
    packages = {point.value.partition(":")[0].partition(".")[0] for point in entry_points(group="waybill.adapters")}
    known = sorted({package.removeprefix("waybill_") for package in packages} | set(EXTRAS.values()))
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean [broker.{near[0]}]? " if near else ""
            raise ConfigurationError(f"[broker.{name}]: there is no such broker; {hint}Known are: {', '.join(known)}")


def open_adapter(url: str, context: AdapterContext) -> Adapter:
    """The adapter for `url`, not yet connected. Raises `AdapterNotFound`, naming what to install."""
    scheme = urlsplit(url).scheme
    if scheme in _used:
        return _used[scheme](url, context)
    found = {point.name: point for point in entry_points(group="waybill.adapters")}
    if scheme not in found:
        raise AdapterNotFound(_missing(url, scheme, found))
    try:
        factory = cast("AdapterFactory", found[scheme].load())
    except ImportError as error:
        install = f" Install it with: pip install 'waybill[{EXTRAS[scheme]}]'" if scheme in EXTRAS else ""
        raise AdapterNotFound(
            f"the adapter for {scheme}:// cannot be loaded, it lacks something: {error}.{install}"
        ) from error
    return factory(url, context)


def _missing(url: str, scheme: str, found: Collection[str]) -> str:
    known = "Installed are: " + (", ".join(f"{name}://" for name in sorted(found)) or "none")
    if not scheme:
        return f"{url!r} names no broker; for a file write sqlite:///{url}. {known}"
    near = difflib.get_close_matches(scheme, found, n=1)
    hint = f"Did you mean {near[0]}://?" if near else "Check the URL."
    return f"no adapter for {scheme}:// is installed. {hint} {known}"
