"""A load generator for HTTP/1.1: raw asyncio, so that little of the machine goes to it. It runs as a process of its own.

Each connection is kept alive and has one request under way. Answers are told apart by `Content-Length` alone, and only their
status is looked at.

Run as a program: `python -m benchmarks.http_load PORT CONNECTIONS SECONDS`, with the requests as JSON on stdin, each
`[method, path, body]`; it answers with one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import quantiles
from typing import NamedTuple

import uvloop

from benchmarks.harness import HOME

__all__ = ["Load", "load"]

JSON_TYPE = "application/vnd.schemaregistry.v1+json"
WARM_UP = 0.5
"""Seconds before the clock starts."""


class Load(NamedTuple):
    """What came of it. p50, p99: milliseconds. failed: answers that were no 200."""

    per_second: float
    p50: float
    p99: float
    failed: int


class Connection(asyncio.Protocol):
    """One connection that asks as soon as it was answered."""

    def __init__(self, requests: Sequence[bytes], first: int) -> None:
        self.requests = requests
        self.next = first
        self.begun = 0.0
        self.times: list[float] = []
        self.failed = 0
        self.buffer = b""
        self.needed = 0
        self.open = True

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.begun = time.perf_counter()
        self.transport.write(self.requests[self.next % len(self.requests)])
        self.next += 1

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer + data if self.buffer else data
        head = buffer.find(b"\r\n\r\n")
        if head < 0:
            self.buffer = buffer
            return
        at = buffer.lower().find(b"content-length:", 0, head)
        length = int(buffer[at + 15 : buffer.find(b"\r", at)])
        if len(buffer) < head + 4 + length:
            self.buffer = buffer
            return
        self.buffer = b""
        self.times.append(time.perf_counter() - self.begun)
        self.failed += not buffer.startswith(b"HTTP/1.1 200")
        if self.open:
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.open:
            self.failed += 1


def load(port: int, requests: Sequence[tuple[str, str, str]], *, connections: int = 16, seconds: float = 2.0) -> Load:
    """Ask for so long, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.http_load", str(port), str(connections), str(seconds)]
    done = subprocess.run(
        command, cwd=HOME.parent, input=json.dumps(requests), capture_output=True, text=True, check=True
    )
    return Load(*json.loads(done.stdout))


def _encoded(method: str, path: str, body: str) -> bytes:
    content = body.encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: registry\r\nAccept: {JSON_TYPE}\r\n"
    if body:
        head += f"Content-Type: {JSON_TYPE}\r\nContent-Length: {len(content)}\r\n"
    return head.encode() + b"\r\n" + content


async def _run(port: int, connections: int, seconds: float, requests: Sequence[bytes]) -> Load:
    loop = asyncio.get_running_loop()
    made = [
        (await loop.create_connection(lambda at=at: Connection(requests, at), "127.0.0.1", port))[1]
        for at in range(connections)
    ]
    await asyncio.sleep(WARM_UP)
    for connection in made:
        connection.times.clear()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    passed = time.perf_counter() - began
    for connection in made:
        connection.open = False
    times = sorted(one for connection in made for one in connection.times)
    cuts = quantiles(times, n=100)
    failed = sum(connection.failed for connection in made)
    await asyncio.sleep(0.1)
    return Load(len(times) / passed, cuts[49] * 1000, cuts[98] * 1000, failed)


if __name__ == "__main__":
    asked = [_encoded(*request) for request in json.load(sys.stdin)]
    print(json.dumps(uvloop.run(_run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), asked))))
