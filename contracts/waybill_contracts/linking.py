"""A proxy before a broker, and the verbs that it gives to a harness that has none of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from waybill_contracts.faults.proxy import Proxy
from waybill_contracts.harness import Broker, Route

__all__ = ["RATE", "linked", "route_of"]

RATE = 10_000
"""Bytes a second that pass where a broker is throttled."""
PROXIED = {"link", "cut", "away", "silent", "throttle"}


@asynccontextmanager
async def linked(broker: Broker, verbs: Collection[str]) -> AsyncGenerator[Broker, None]:
    """The broker behind a proxy, where that is needed for one of the verbs and its route is known; else as it is."""
    missing = {verb for verb in PROXIED & set(verbs) if getattr(broker, verb) is None and verb not in broker.cannot}
    route = broker.route or route_of(broker.url)
    if missing and broker.link is not None:
        yield _with_verbs(broker, broker.link)
    elif missing and route is not None:
        async with Proxy(route.host, route.port, listen=route.listen) as proxy:
            yield _with_verbs(replace(broker, url=route.url(proxy.host, proxy.port)), proxy)
    else:
        yield broker


def _with_verbs(broker: Broker, proxy: Proxy) -> Broker:
    made: dict[str, Any] = {verb: make(proxy) for verb, make in MADE.items() if getattr(broker, verb) is None}
    return replace(broker, **made)


def route_of(url: str) -> Route | None:
    """The way to a broker whose URL names one host and its port."""
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:  # several
        return None
    if not host or not port:
        return None
    user, at, _ = parts.netloc.rpartition("@")

    def through(host: str, port: int) -> str:
        return parts._replace(netloc=f"{user}{at}{host}:{port}").geturl()

    return Route(host=host, port=port, url=through)


def _cut(proxy: Proxy) -> Any:
    async def cut() -> None:
        proxy.cut()

    return cut


def _lasting(block: Callable[[], AbstractContextManager[None]]) -> Callable[[], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def last() -> AsyncGenerator[None, None]:
        with block():
            yield

    return last


MADE: dict[str, Callable[[Proxy], Any]] = {
    "link": lambda proxy: proxy,
    "cut": _cut,
    "away": lambda proxy: _lasting(proxy.away),
    "silent": lambda proxy: _lasting(proxy.silent),
    "throttle": lambda proxy: _lasting(lambda: proxy.throttled(RATE)),
}
