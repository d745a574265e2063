"""A broker as the tests see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

Provider: TypeAlias = Literal["url", "container", "native"]
Command: TypeAlias = Literal["restart", "pause", "resume", "kill", "stop"]


class Unavailable(Exception):
    """The broker cannot be had here; the text says why, and how to get it."""


class Broken(Exception):
    """The broker is here and does not work, or what was asked of it did not."""


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
    ask: Callable[[str, Command], None] = field(repr=False, compare=False)

    @property
    def address(self) -> str:
        """host:port, as Kafka's clients want it."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

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
        """End it as a power cut would (SIGKILL). `restart` brings it back with what it had stored."""
        self.ask(self.name, "kill")

    def stop(self) -> None:
        """End it in good order, before the session does. `restart` brings it back."""
        self.ask(self.name, "stop")
