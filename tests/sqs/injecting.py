"""A server before an emulator that does what AWS does on bad days: takes a part of a call, throttles, breaks, and is slow."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession, web

__all__ = ["BadDays", "forwarded", "injecting", "served"]

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]
BATCHES = frozenset({"SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"})
THROTTLED = {"__type": "com.amazonaws.sqs#RequestThrottled", "message": "Rate exceeded"}
BROKEN = {"__type": "com.amazonaws.sqs#InternalError", "message": "We encountered an internal error"}
FAILED = {"SenderFault": False, "Code": "InternalError", "Message": "injected"}


@dataclass
class BadDays:
    """Shares, from 0 to 1, of entries that fail, and of calls that are throttled, end in 500 unread, or take `slowness`."""

    failed: float = 0.0
    throttled: float = 0.0
    broken: float = 0.0
    slow: float = 0.0
    slowness: float = 0.5
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    injected: Counter[str] = field(default_factory=Counter[str])
    calls: Counter[str] = field(default_factory=Counter[str])

    def happens(self, share: float, what: str) -> bool:
        if self.chance.random() >= share:
            return False
        self.injected[what] += 1
        return True


@asynccontextmanager
async def injecting(url: str, days: BadDays) -> AsyncGenerator[str, None]:
    """The URL of a server that hands on to `url`."""
    async with ClientSession(auto_decompress=False) as session:

        async def handle(request: web.Request) -> web.StreamResponse:
            return await _handled(request, session, url.rstrip("/"), days)

        async with served(handle) as endpoint:
            yield endpoint


@asynccontextmanager
async def served(handle: Handle) -> AsyncGenerator[str, None]:
    """The URL of a server that has everything handled so."""
    app = web.Application(client_max_size=4 << 20)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _handled(request: web.Request, session: ClientSession, url: str, days: BadDays) -> web.StreamResponse:
    action = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
    days.calls[action] += 1
    body = await request.read()
    if action in BATCHES or action == "ReceiveMessage":
        if days.happens(days.slow, "slow"):
            await asyncio.sleep(days.slowness)
        if days.happens(days.throttled, "throttled"):
            return web.json_response(THROTTLED, status=400, content_type="application/x-amz-json-1.0")
        if days.happens(days.broken, "broken"):
            return web.json_response(BROKEN, status=500, content_type="application/x-amz-json-1.0")
    failed: list[dict[str, Any]] = []
    if action in BATCHES:
        asked = json.loads(body)
        failed = [{"Id": entry["Id"], **FAILED} for entry in asked["Entries"] if days.happens(days.failed, action)]
        gone = {each["Id"] for each in failed}
        asked["Entries"] = [entry for entry in asked["Entries"] if entry["Id"] not in gone]
        if not asked["Entries"]:
            return web.json_response({"Successful": [], "Failed": failed}, content_type="application/x-amz-json-1.0")
        body = json.dumps(asked).encode()
    return await forwarded(request, session, url, body, failed)


async def forwarded(
    request: web.Request, session: ClientSession, url: str, body: bytes, failed: list[dict[str, Any]]
) -> web.StreamResponse:
    kept = {name: value for name, value in request.headers.items() if name not in {"Host", "Content-Length"}}
    async with session.request(request.method, url + request.path_qs, data=body, headers=kept) as answer:
        found = await answer.read()
        if failed and answer.status == 200:
            told = json.loads(found)
            told["Failed"] = [*(told.get("Failed") or ()), *failed]
            found = json.dumps(told).encode()
        return web.Response(status=answer.status, body=found, content_type=answer.content_type)
