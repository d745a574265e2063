"""A bare ASGI application on uvicorn: `python -m benchmarks.registry_bare`, with the answer on stdin. It prints its port.

With `processes` above one there are as many, each with a socket of its own at the same port, as the registry has it.
"""

from __future__ import annotations

import asyncio
import os
import sys

import uvicorn

from waybill_schema_registry.server.serving import listener


def application(body: bytes):
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [
            (b"content-length", str(len(body)).encode()),
            (b"content-type", b"application/vnd.schemaregistry.v1+json"),
        ],
    }
    answer = {"type": "http.response.body", "body": body}

    async def bare(scope, receive, send) -> None:
        await send(start)
        await send(answer)

    return bare


def serve(body: bytes, port: int, processes: int) -> None:
    shared = processes > 1
    listening = listener("127.0.0.1", port, shared=shared)
    port = listening.getsockname()[1]
    listening.listen()
    for _ in range(processes - 1):
        if os.fork() == 0:
            listening.close()
            listening = listener("127.0.0.1", port, shared=True)
            break
    else:
        print(port, flush=True)
    config = uvicorn.Config(
        application(body),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",
    )
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


if __name__ == "__main__":
    serve(sys.stdin.buffer.read(), 0, int(sys.argv[1]))
