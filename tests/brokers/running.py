"""A broker as the tests see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias
from urllib.parse import urlsplit

Provider: TypeAlias = Literal["url", "container", "native"]
Command: TypeAlias = Literal["start", "restart", "pause", "resume", "kill", "stop", "run"]


class Unavailable(Exception):
    """The broker cannot be had here; the text says why, and how to get it."""


class Broken(Exception):
    """The broker is here and does not work, or what was asked of it did not."""


class Ask(Protocol):
    """Has the keeper do something to a broker."""

    def __call__(self, name: str, verb: Command, *arguments: str) -> str: ...


@dataclass(frozen=True)
class Running:
    """A broker that answers. It is shared by all tests of the session, so a test keeps to names of its own.

    The verbs return when they are done and raise `Broken` when they fail; all of them refuse a broker that only a URL
    names (`provider == "url"`), because it is not ours.
    """

    name: str
    url: str
    version: str
    """As the broker or its package tells it; empty where neither does."""
    provider: Provider
    seconds: float = field(compare=False)
    """How long it took until it answered, with whatever had to be fetched."""
    further: Mapping[str, int] = field(compare=False)
    """Its other ports, by name; none of a broker that a URL names.

    RabbitMQ: `management`, its HTTP API (administration.py). Kafka: `secured` asks who
    may do what; `proxied0`, what a proxy connects to that listens on `proxy0`, so that who bootstraps there is told of that
    proxy only, and so on.
    """
    ask: Ask = field(repr=False, compare=False)

    @property
    def address(self) -> str:
        """host:port, as Kafka's clients want it."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def start(self) -> None:
        """Start it again, with its data and at the same URL, after `kill` or `stop`; one that runs is left alone."""
        self.ask(self.name, "start")

    def restart(self) -> None:
        """End it in good order if it runs, start it again with its data at the same URL, and wait until it answers."""
        self.ask(self.name, "restart")

    def pause(self) -> None:
        """Stop it where it stands: connections stay open, nothing answers."""
        self.ask(self.name, "pause")

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self.ask(self.name, "resume")

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL). `start` brings it back with what it had stored."""
        self.ask(self.name, "kill")

    def stop(self) -> None:
        """End it in good order, before the session does. `start` brings it back."""
        self.ask(self.name, "stop")

    def run(self, *command: str) -> str:
        """Run one of the broker's own programs beside it, e.g. `rabbitmqctl`, and return what it printed."""
        return self.ask(self.name, "run", *command)
