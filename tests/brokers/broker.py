"""A broker as its keeper sees it, wherever it comes from."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from urllib.parse import urlsplit

from tests.brokers.recipe import Address, Recipe
from tests.brokers.running import Broken, Provider


class Broker(ABC):
    """Each verb returns when it is done; `create`, `start` and `restart` when the broker answers."""

    provider: Provider
    recipe: Recipe
    at: Address
    version: str
    seconds: float = 0.0
    """How long it took until it answered, with whatever had to be fetched."""

    @property
    def url(self) -> str:
        return self.recipe.url(self.at.host, self.at.port)

    @abstractmethod
    async def create(self) -> None:
        """Start it for the first time."""

    @abstractmethod
    async def start(self) -> None:
        """Start it again, with its data, if it does not run."""

    @abstractmethod
    async def restart(self) -> None: ...

    @abstractmethod
    async def pause(self) -> None: ...

    @abstractmethod
    async def resume(self) -> None: ...

    @abstractmethod
    async def kill(self) -> None: ...

    @abstractmethod
    async def stop(self) -> None:
        """End it in good order."""

    @abstractmethod
    async def run(self, *command: str) -> str:
        """Run one of the broker's own programs beside it, and return what it printed."""

    @abstractmethod
    async def discard(self) -> None:
        """End it and all that is beside it, for good; nothing of it stays. Works at any moment, and twice."""

    async def ready(self, failed: Callable[[], str | None], patience: float = 90) -> None:
        """Wait until the broker answers. `failed` tells its last words as soon as it has ended instead."""
        end = time.monotonic() + patience
        while True:
            try:
                self.version = await asyncio.to_thread(self.recipe.probe, self.at.host, self.at.port) or self.version
            except OSError as problem:
                if (words := failed()) is not None:
                    raise Broken(f"The broker ended instead of answering:\n{words}") from problem
                if time.monotonic() > end:
                    raise Broken(f"The broker did not answer within {patience:.0f} s: {problem}") from problem
                await asyncio.sleep(0.05)
            else:
                return


class Given(Broker):
    """A broker that a URL names: used, and never touched."""

    provider = "url"

    def __init__(self, recipe: Recipe, url: str) -> None:
        parts = urlsplit(url)
        defaults = {"amqp": 5672, "amqps": 5671, "kafka": 9092, "https": 443, "postgresql": 5432}
        self.recipe, self.version, self.given = recipe, "", url
        self.at = Address(parts.hostname or "127.0.0.1", parts.port or defaults.get(parts.scheme, 80), {})

    @property
    def url(self) -> str:
        return self.given

    async def create(self) -> None:
        try:
            await self.ready(lambda: None, patience=10)
        except Broken as problem:
            raise Broken(f"{self.recipe.variable} names a broker that does not answer: {problem}") from None

    async def run(self, *command: str) -> str:
        raise Broken(f"The broker that {self.recipe.variable} names is elsewhere: {command[0]} has to be run there.")

    async def restart(self) -> None:
        raise Broken(f"The broker that {self.recipe.variable} names is not ours to stop, start or hold.")

    start = pause = resume = kill = stop = restart

    async def discard(self) -> None:
        """It goes on without us."""
