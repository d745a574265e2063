"""A server before an emulator that lets in whom it knows, and is STS as well: it lends credentials for seconds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs

from aiohttp import ClientSession, web

from tests.sqs.injecting import forwarded, served

__all__ = ["Guard", "guarding"]

SECRET = "lent-secret"
TOKEN = "lent-token"
LENT = """\
<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>
<Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>
<SessionToken>{token}</SessionToken><Expiration>{until}</Expiration></Credentials>
<AssumedRoleUser><Arn>arn:aws:sts::000000000000:assumed-role/r/s</Arn><AssumedRoleId>A:s</AssumedRoleId></AssumedRoleUser>
</{action}Result></{action}Response>"""
REFUSED = """\
<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code>
<Message>not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>"""
EXPIRED = {
    "__type": "com.amazonaws.sqs#ExpiredTokenException",
    "message": "The security token included in the request is expired",
}
UNKNOWN = {"__type": "com.amazonaws.sqs#InvalidClientTokenId", "message": "The security token is invalid"}


@dataclass
class Guard:
    """known: keys that never expire. lifetime: seconds of what is lent. Every so many calls one is told that its
    credentials have expired though they have not, as where clocks differ: `forgets_every`; 0: none."""

    known: set[str] = field(default_factory=set[str])
    lifetime: float = 60.0
    forgets_every: int = 0
    lends: bool = True
    lent: dict[str, float] = field(default_factory=dict[str, float])
    seen: Counter[str] = field(default_factory=Counter[str])
    """Calls by the access key they were made with, and by what was asked of STS."""
    tokens: Counter[str] = field(default_factory=Counter[str])
    """Of web identities."""
    forgotten: int = 0

    def lend(self, form: dict[str, list[str]]) -> web.Response:
        action = form["Action"][0]
        self.seen[action] += 1
        self.tokens.update(form.get("WebIdentityToken", ()))
        if not self.lends:
            return web.Response(status=403, text=REFUSED, content_type="text/xml")
        key, until = f"LENT{len(self.lent):06}", time.time() + self.lifetime
        self.lent[key] = until
        told = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        text = LENT.format(action=action, key=key, secret=SECRET, token=TOKEN, until=told)
        return web.Response(text=text, content_type="text/xml")

    def objection(self, request: web.Request) -> dict[str, str] | None:
        key = request.headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0]
        self.seen[key] += 1
        if key in self.known:
            return None
        if key not in self.lent:
            return UNKNOWN
        if self.forgets_every and self.seen.total() % self.forgets_every == 0:
            self.forgotten += 1
            return EXPIRED
        return EXPIRED if self.lent[key] < time.time() else None


@asynccontextmanager
async def guarding(url: str, guard: Guard) -> AsyncGenerator[str, None]:
    """The URL of a server that hands on to `url` what it lets in."""
    async with ClientSession(auto_decompress=False) as session:

        async def handle(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            if "X-Amz-Target" not in request.headers:
                return guard.lend(parse_qs(body.decode()))
            if (objection := guard.objection(request)) is not None:
                return web.json_response(objection, status=403, content_type="application/x-amz-json-1.0")
            return await forwarded(request, session, url.rstrip("/"), body, [])

        async with served(handle) as endpoint:
            yield endpoint
