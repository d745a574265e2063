"""An HTTP server that answers as it is told, for what no registry of ours would answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """hangs: seconds before the body is sent."""

    status: int = 200
    body: bytes | str = "{}"
    headers: dict[str, str] = field(default_factory=dict)
    hangs: float = 0.0


Script = Callable[[Request], Answer | None]
"""None: the connection is cut without an answer."""


@dataclass
class Scripted:
    url: str
    asked: list[Request]


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[Scripted]:
    asked: list[Request] = []
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                method, path, _ = lines[0].split(" ")
                headers = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                asked.append(Request(method, path, headers, body))
                answer = script(asked[-1])
                if answer is None:
                    return
                text = answer.body.encode() if isinstance(answer.body, str) else answer.body
                more = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
                writer.write(f"HTTP/1.1 {answer.status} x\r\nContent-Length: {len(text)}\r\n{more}\r\n".encode())
                await writer.drain()
                await asyncio.sleep(answer.hangs)
                writer.write(text)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writers.discard(writer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield Scripted(f"http://{host}:{port}", asked)
    finally:
        server.close()
        for writer in list(writers):
            writer.close()
        await server.wait_closed()
