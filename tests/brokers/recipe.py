"""What has to be known of a broker to run it."""

from __future__ import annotations

import shlex
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tests.brokers.fetching import Cache


@dataclass(frozen=True)
class Launch:
    """A broker as processes of this machine."""

    main: list[str]
    """The broker itself, and not a shell around it: signals reach it."""
    once: list[list[str]] = field(default_factory=list)
    """Run to their end before the first start."""
    beside: list[list[str]] = field(default_factory=list)
    """Run as long as the broker exists, whether it runs or not."""
    tool: list[str] = field(default_factory=list)
    """What stands before one of the broker's own programs, so that it runs beside the broker."""
    end: signal.Signals = signal.SIGTERM
    """Ends it in good order, whoever is connected."""


@dataclass(frozen=True)
class Address:
    """Where a broker is reached, by the tests as by others."""

    host: str
    port: int
    further: Mapping[str, int]
    """Its other ports, by the names of `Recipe.further`."""


@dataclass(frozen=True)
class Image:
    """A broker as a container."""

    variable: str
    """The environment variable that names another image."""
    public: str
    port: int
    build: Callable[[Cache], Awaitable[str]] | None = None
    """Makes an image from what a native broker is made of, where none can be pulled; returns its name."""


class Recipe(ABC):
    """One kind of broker."""

    variable: str = ""
    """The environment variable that names one that runs already."""
    image: Image | None = None
    """Nothing: it runs natively only."""
    further: ClassVar[Mapping[str, int]] = {}
    """Ports beside the one of its URL, by name: their numbers in a container, or 0 for one that is kept free for a proxy."""

    @abstractmethod
    def url(self, host: str, port: int) -> str: ...

    @abstractmethod
    def probe(self, host: str, port: int) -> str:
        """Ask what only a broker that is ready answers, and return the version it tells, or nothing.

        Raises OSError while it is not ready. An open port is no answer: Docker opens it before the broker does.
        """

    @abstractmethod
    async def install(self, cache: Cache) -> tuple[Path, str]:
        """Fetch what the native broker is made of. Returns where it is and its version, as far as that is known."""

    @abstractmethod
    def launch(self, installed: Path, folder: Path, at: Address) -> Launch:
        """The processes of a native broker that keeps its data in `folder` and listens at `at`; writes its files."""

    def environment(self, at: Address) -> Mapping[str, str]:
        """What the container is told of how it is reached."""
        return {}

    def files(self, at: Address) -> Mapping[str, str]:
        """The container's own files, by their path in it."""
        return {}


def ask(host: str, port: int, question: bytes, whole: Callable[[bytes], bool]) -> bytes:
    """Send a question, and return the answer as soon as it is whole. Raises OSError."""
    answer = b""
    with socket.create_connection((host, port), 1) as connection:
        connection.settimeout(3)
        connection.sendall(question)
        while not whole(answer):
            if not (more := connection.recv(4096)):
                raise ConnectionError(f"{host}:{port} closed without an answer")
            answer += more
    return answer


def http_answers(host: str, port: int) -> None:
    """Any HTTP answer will do. Raises OSError."""
    question = b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"
    if not ask(host, port, question, lambda answer: len(answer) >= 5).startswith(b"HTTP/"):
        raise ConnectionError(f"{host}:{port} does not speak HTTP")


class HttpRecipe(Recipe):
    """One that is asked by HTTP, and tells no version."""

    def url(self, host: str, port: int) -> str:
        return f"http://{host}:{port}"

    def probe(self, host: str, port: int) -> str:
        http_answers(host, port)
        return ""


def java(jars: Path, *arguments: str, heap: int) -> list[str]:
    """A small virtual machine: one collector, no optimising compiler, quiet loggers."""
    tuning = f"-Xms32m -Xmx{heap}m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData"
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dlog4j2.StatusLogger.level=OFF"
    return ["java", *shlex.split(tuning), *shlex.split(quiet), "-cp", f"{jars}/*", *arguments]
