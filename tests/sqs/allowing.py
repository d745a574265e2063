"""A server before an emulator that holds each caller to an IAM policy: what is not allowed is denied, as AWS denies it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs

from aiohttp import ClientSession, web

from tests.sqs.injecting import forwarded, served
from waybill_sqs.client import NOBODYS

__all__ = ["Policies", "allowing"]

DENIED = """\
<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type>
<Code>AuthorizationError</Code><Message>{}</Message></Error></ErrorResponse>"""


@dataclass
class Policies:
    """What the caller with each access key may do, what each has used of it, and what was denied."""

    by_key: Mapping[str, dict[str, Any]]
    used: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    denied: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def allow(self, key: str, action: str, name: str) -> bool:
        """name: of the queue or topic, behind the account in its ARN."""
        service = action.partition(":")[0]
        resource = f"arn:aws:{service}:us-east-1:123456789012:{name}"
        allowed = service == "sts" or any(
            action in statement["Action"] and fnmatchcase(resource, statement["Resource"])
            for statement in self.by_key[key]["Statement"]
        )
        if name != NOBODYS:  # whoever is denied is known there, which is all that is asked
            (self.used if allowed else self.denied)[key].add(action)
        return allowed


def asked(request: web.Request, body: bytes) -> tuple[str, str]:
    """The action, and the name of the queue or topic that it is for."""
    if target := request.headers.get("X-Amz-Target"):
        given = json.loads(body)
        place = given.get("QueueUrl", "").rpartition("/")[2] or given.get("SourceArn", "").rpartition(":")[2]
        action = target.rpartition(".")[2].removesuffix("Batch")
        return f"sqs:{action}", place or given.get("QueueName", "")
    form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    arn = form.get("TopicArn") or form.get("SubscriptionArn") or form.get("Name", "")
    service = "sts" if form["Action"] == "GetCallerIdentity" else "sns"
    return f"{service}:{form['Action'].removesuffix('Batch')}", arn.partition("123456789012:")[2] or arn


@asynccontextmanager
async def allowing(url: str, policies: Policies) -> AsyncGenerator[str, None]:
    """The URL of a server that hands on to `url` what is allowed."""
    async with ClientSession(auto_decompress=False) as session:

        async def handle(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            key = request.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
            action, name = asked(request, body)
            if policies.allow(key, action, name):
                return await forwarded(request, session, url.rstrip("/"), body, [])
            text = f"{key} is not authorized to perform: {action} on {name}"
            if action.startswith("sns"):
                return web.Response(status=403, text=DENIED.format(text), content_type="text/xml")
            problem = {"__type": "com.amazon.coral.service#AccessDeniedException", "message": text}
            return web.json_response(problem, status=403, content_type="application/x-amz-json-1.0")

        async with served(handle) as endpoint:
            yield endpoint
