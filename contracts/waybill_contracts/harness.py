"""What the author of an adapter writes: how a broker comes to a test, and what can be done to it there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from waybill import BrokerOptions

if TYPE_CHECKING:
    from waybill_contracts.faults.proxy import Proxy

__all__ = ["DISTURBING", "VERBS", "Broker", "Harness", "Route"]

VERBS = {
    "processes": "several processes use it at once",
    "restart": "it is stopped and started again, and keeps what it had confirmed",
    "away": "it cannot be reached for as long as a block lasts",
    "cut": "every connection is cut now",
    "credentials": "it knows who may use it, and refuses others",
    "rolling": "its servers are restarted one after another, so that it is there all the while",
    "throttle": "for as long as a block lasts, it takes and gives far less than it is asked for",
    "remove": "a group is removed, by somebody who is no application",
    "foreign": "a program without Waybill publishes",
    "permissions": "a user may publish and consume, and declare nothing",
    "partitions": "a topic has a number of partitions that can be chosen",
    "link": "its connections go through a proxy, which does what networks do",
    "silent": "for as long as a block lasts it answers nothing, and connections stay open",
    "kill": "it is ended as a power cut would; `restart` brings it back",
    "stop": "it is ended in good order; `restart` brings it back",
    "pause": "it stands still until `resume`, and connections stay open",
    "lock_out": "for as long as a block lasts, it does not know the credentials of the URL any more",
    "forbid": "for as long as a block lasts, a topic may not be consumed any more",
    "dead_end": "for as long as a block lasts, a group's dead letters cannot be placed",
    "give_up": "the broker itself gives up what waits for a group, and makes it a dead letter",
}
"""What a behaviour may ask for beyond connecting."""
DISTURBING = frozenset({"restart", "rolling", "kill", "stop", "pause"})
"""Those that end or hold the broker, for whoever else uses it as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The way to a broker, for the proxy that faults are made with. Known from a URL that has a host and a port.

    url: the URL for clients that shall go through this host and port. listen: the port where the proxy must be, for a
    broker that tells its clients its own address; 0: anywhere.
    """

    host: str
    port: int
    url: Callable[[str, int], str]
    listen: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A broker for one test: empty, or shared, since every test has names of its own.

    url: for `Settings(url=…)`; it must keep its meaning in another process. options: the `[broker.…]` tables that go with
    it, e.g. to shorten what the broker itself times. They may not make a promise weaker.
    credentials: the same URL for somebody whom it must refuse. remove: the group of a topic, by name.
    restart, away, cut, rolling, throttle, remove: what can be done to it; `None` where that has no meaning, and `cannot`
    says why, by the verb.
    foreign: publish this body on the topic of this name with the broker's own client, without headers of any kind.
    permissions: the URL of a user who may publish and consume, and declare nothing.
    partitions: the broker's own option for a topic with so many of them.
    kill, stop, pause, resume: its process. lock_out: the credentials of `url`. forbid, dead_end, give_up: a group, by the
    names of its topic and itself.
    prefix: what the names of the test's topics shall begin with, for a harness that clears up after it.
    link, and of cut, away, silent and throttle those that are not given: the kit makes them, with a proxy on the `route`,
    where that is known from `url` or given.
    """

    url: str
    version: str = ""
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    restart: Callable[[], Awaitable[None]] | None = None
    away: Callable[[], AbstractAsyncContextManager[None]] | None = None
    cut: Callable[[], Awaitable[None]] | None = None
    credentials: str | None = None
    rolling: Callable[[], Awaitable[None]] | None = None
    throttle: Callable[[], AbstractAsyncContextManager[None]] | None = None
    remove: Callable[[str, str], Awaitable[None]] | None = None
    cannot: Mapping[str, str] = field(default_factory=dict[str, str])
    foreign: Callable[[str, bytes], Awaitable[None]] | None = None
    permissions: str | None = None
    partitions: Callable[[int], BrokerOptions] | None = None
    prefix: str = ""
    route: Route | None = None
    link: Proxy | None = None
    silent: Callable[[], AbstractAsyncContextManager[None]] | None = None
    kill: Callable[[], Awaitable[None]] | None = None
    stop: Callable[[], Awaitable[None]] | None = None
    pause: Callable[[], Awaitable[None]] | None = None
    resume: Callable[[], Awaitable[None]] | None = None
    lock_out: Callable[[], AbstractAsyncContextManager[None]] | None = None
    forbid: Callable[[str, str], AbstractAsyncContextManager[None]] | None = None
    dead_end: Callable[[str, str], AbstractAsyncContextManager[None]] | None = None
    give_up: Callable[[str, str], Awaitable[None]] | None = None


class Harness(Protocol):
    """How a broker comes to a test. A harness calls nothing private and widens no time to pass."""

    @property
    def name(self) -> str:
        """For the ledger: `sqlite`, `rabbitmq`."""
        ...

    @property
    def provider(self) -> str:
        """Where the broker comes from: `file`, `container`, `native`, `url`."""
        ...

    @property
    def waived(self) -> Mapping[str, str]:
        """Behaviours, by id, that cannot be shown here, each with the reason, which stands in the ledger."""
        ...

    def broker(self, folder: Path) -> AbstractAsyncContextManager[Broker]:
        """A broker for one test. `folder`: an empty one, for whatever it needs."""
        ...
