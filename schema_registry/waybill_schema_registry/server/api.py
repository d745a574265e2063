"""From a request to its answer: find the operation, see who asks, read the body, do it, and say what came of it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from starlette.types import Receive, Scope, Send

from waybill_schema_registry.engine.engine import Engine
from waybill_schema_registry.errors import Forbidden, Invalid
from waybill_schema_registry.server import audit
from waybill_schema_registry.server.aliases import aliased
from waybill_schema_registry.server.answers import Answer, answered
from waybill_schema_registry.server.asking import Ask, Services
from waybill_schema_registry.server.bodies import Bodies
from waybill_schema_registry.server.calls import Call
from waybill_schema_registry.server.failures import Refused, failed
from waybill_schema_registry.server.keeping import entry_of
from waybill_schema_registry.server.kept import Kept
from waybill_schema_registry.server.media import V1, negotiated, readable
from waybill_schema_registry.server.metrics import Metrics
from waybill_schema_registry.server.openapi import document
from waybill_schema_registry.server.options import Options
from waybill_schema_registry.server.rights import EVERYBODY, NOBODY, User
from waybill_schema_registry.server.routing import Route, Routes
from waybill_schema_registry.server.schemas import place_of
from waybill_schema_registry.server.table import TABLE

__all__ = ["Api"]

BUSY = "The server is busy with as many requests as it may be at once. Try again in a moment."
READ_ONLY = "This server is read-only. Write to another one, or start it without --read-only."
UNKNOWN = "Say who you are, by basic or bearer authentication, as a user of this registry."


class Api:
    """An ASGI application for requests of HTTP."""

    def __init__(self, engine: Engine, options: Options, metrics: Metrics, kept: Kept) -> None:
        self._engine = engine
        self._options = options
        self._metrics = metrics
        self._kept = kept
        self._routes = Routes(TABLE)
        self._services = Services(metrics.text, functools.cache(lambda: document(TABLE)))
        self._bodies = Bodies(options.body, options.bodies)
        self._busy = 0
        metrics.gauge("waybill_registry_requests_in_progress", "Requests being answered.", lambda: self._busy)
        metrics.gauge("waybill_registry_kept_answers", "Answers kept as bytes.", lambda: len(kept))
        metrics.gauge("waybill_registry_kept_bytes", "Bytes of the answers kept.", lambda: kept.size)
        metrics.gauge("waybill_registry_kept_hits", "Requests answered from what is kept.", lambda: kept.hits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        turn = _Turn()
        try:
            answer = await self._answer(Call(scope), receive, turn)
        except Exception as error:  # noqa: BLE001 - each is answered, and logged where it is no answer of the registry
            answer = failed(error, turn.operation)
        start, body = _messages(answer, turn.type)
        turn.settle(self._kept, answer, start, body)
        await send(start)
        await send(body)
        self._metrics.observe(turn.operation, answer.status, perf_counter() - began)

    async def _answer(self, call: Call, receive: Receive, turn: _Turn) -> Answer:
        context = call.take_context()
        route, values = self._routes.find(call.method, call.segments)
        turn.operation = route.name
        user = await self._who(call, route)
        turn.type = _negotiated(call.accept, route)
        body = await self._body(call, route, receive)
        parameters = dict(zip(route.parameters, values, strict=True))
        ask = turn.ask = Ask(
            self._engine,
            route,
            parameters,
            call.query,
            body,
            user=user or NOBODY,
            context=context,
            services=self._services,
        )
        turn.client = call.client
        with self._one_more():
            async with asyncio.timeout(self._options.timeout):
                await self._admit(ask, user)
                if route.keep and ask.subject == ask.named:
                    turn.key = call.key(body)
                    turn.before = self._engine.stamp((place_of(ask) or "") if route.keep == "id" else ask.subject)
                turn.value = await route.operation(ask)
        return answered(turn.value)

    async def _who(self, call: Call, route: Route) -> User | None:
        """None where it does not matter."""
        try:
            user = await self._options.users.who(call.authorization)
        except Refused:  # too many passwords to look at
            if not route.open:
                raise
            return None
        if user is None and not route.open:
            raise Forbidden(UNKNOWN, code=401)
        return user

    @contextmanager
    def _one_more(self) -> Generator[None]:
        """Those whose bodies are still on their way do not count: they hold nothing up."""
        if self._busy >= self._options.busy:
            raise Refused(503, BUSY)
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    async def _body(self, call: Call, route: Route, receive: Receive) -> bytes:
        if route.body is None:
            return b""
        if not readable(call.content_type):
            raise Refused(415)
        return await self._bodies.read(receive)

    async def _admit(self, ask: Ask, user: User | None) -> None:
        """Whether this may be asked: of the subject that is named, and of the one that is meant."""
        named = "subject" in ask.path or (ask.route.writes and not ask.route.elsewhere)
        checked = named and user is not None and user is not EVERYBODY
        if checked:
            ask.demand(ask.route.right)
        if ask.route.aliased and (meant := await aliased(self._engine, ask.subject)) != ask.subject:
            ask.subject = meant
            if checked:
                ask.demand(ask.route.right)
        if ask.route.writes and self._options.read_only:
            raise Invalid(READ_ONLY, code=42205)


class _Turn:
    """What is known so far of a request that is being answered."""

    __slots__ = ("ask", "before", "client", "key", "operation", "type", "value")

    def __init__(self) -> None:
        self.operation = "unknown"
        self.type = V1
        self.client = "?"
        self.ask: Ask | None = None
        self.key: Any = None
        self.before: object | None = None
        self.value: Any = None

    def settle(self, kept: Kept, answer: Answer, start: dict[str, Any], body: dict[str, Any]) -> None:
        """Keep the answer where it may be kept; write down who wrote."""
        if self.ask is None:
            return
        if self.key is not None and answer.status == 200:
            entry = entry_of(self.ask, self.before, self.value, start, body)
            if entry is not None:
                kept.put(self.key, entry)
        if self.ask.route.writes:
            audit.wrote(self.ask, self.client, answer, self.value)


def _negotiated(accept: bytes, route: Route) -> str:
    if route.content is not None:
        return route.content
    kind = negotiated(accept)
    if kind is None:
        raise Refused(406)
    return kind


def _messages(answer: Answer, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    headers = [*answer.headers, (b"content-length", str(len(answer.body)).encode())]
    if answer.status != 204:
        headers.append((b"content-type", (answer.type or kind).encode()))
    start = {"type": "http.response.start", "status": answer.status, "headers": headers}
    return start, {"type": "http.response.body", "body": answer.body}
