"""What operators ask over HTTP. An ASGI application of its own, or a part of yours: `api.mount("/ops", operations(app))`.

    GET  /livez                   200 while this process can go on, 503 when only a new one helps
    GET  /readyz                  200 when it consumes and moves, else 503
    GET  /health                  all of it: subscriptions, topics published to, circuits; always 200
    GET  /metrics                 for Prometheus
    GET  /circuits                the circuit breakers
    POST /circuits/NAME/open      nothing passes until somebody says otherwise; …/close, …/auto: as it is by itself

Orders are taken from its own machine alone (`kubectl exec`, `kubectl port-forward`), and not through a proxy. All is known
in the process: an answer connects to nothing, and a probe may ask as often as it likes. Needs the extra `ops`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, get_args

import msgspec

from waybill.app import App
from waybill.errors import ConfigurationError
from waybill.ops.folder import Order, Wanted
from waybill.ops.obeying import Obeying
from waybill.ops.state import Process, State
from waybill.telemetry.prometheus import exposition_of

try:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
except ModuleNotFoundError as lacking:
    raise ConfigurationError(
        "answering operators over HTTP needs its extra. Install it with: pip install 'waybill[ops]'"
    ) from lacking

__all__ = ["operations"]

LONGEST = 10_000
"""Bytes of a request's body that are read."""
HERE = frozenset({IPv4Address("127.0.0.1"), IPv6Address("::1")})
"""Who asks from this machine. Not all of 127.0.0.0/8: service meshes hand on what comes from elsewhere as 127.0.0.6."""
HANDED_ON = frozenset({"forwarded", "via", "x-real-ip"})
"""Headers of proxies, beside all that begin with `x-forwarded-`: behind one on this machine everybody seems to be here."""


class Wish(msgspec.Struct, frozen=True):
    """The body of a POST, which may be left out: why, and who says so."""

    reason: str = ""
    by: str = ""


def operations(
    app: App, *, process: Process | None = None, obeying: Obeying | None = None, local: bool = True
) -> Starlette:
    """Answers for `app` in this process. `process` and `obeying`: as they are known elsewhere; without, a circuit is
    ordered in this process alone. `local`: whether only who asks from this machine, and through no proxy, may order
    anything; without, you guard it. A proxy on this machine that says nothing of whom it speaks for is not noticed.

    Raises `ConfigurationError` without the extra `ops`.
    """
    known = Process(app) if process is None else process
    expose = exposition_of(app)

    async def live(_: Request) -> Response:
        state = known.state()
        return _short(state, ok=state.live)

    async def ready(_: Request) -> Response:
        state = known.state()
        return _short(state, ok=state.ready)

    async def health(_: Request) -> Response:
        return _json(known.state())

    async def metrics(request: Request) -> Response:
        body, kind = expose(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": kind})

    async def circuits(_: Request) -> Response:
        return _json(known.state().circuits)

    return Starlette(
        routes=[
            Route("/livez", live),
            Route("/readyz", ready),
            Route("/health", health),
            Route("/metrics", metrics),
            Route("/circuits", circuits),
            Route(
                "/circuits/{name:path}/{to}", _ordering(known, obeying or Obeying(app), local=local), methods=["POST"]
            ),
        ]
    )


def _ordering(process: Process, obeying: Obeying, *, local: bool) -> Callable[[Request], Awaitable[Response]]:
    async def order(request: Request) -> Response:
        name, to = request.path_params["name"], request.path_params["to"]
        if "origin" in request.headers:  # a page in somebody's browser could otherwise stop what it can reach
            return _wrong(403, "circuits are no matter of web pages")
        if local and not _is_here(request):
            return _wrong(403, "circuits are ordered from the machine itself: run `waybill circuit` there")
        if to not in get_args(Wanted):
            return _wrong(404, f"{to!r}: a circuit is ordered open, close or auto")
        if name not in process.app.breakers:
            return _wrong(404, f"there is no circuit {name!r} here. Known: {', '.join(process.app.breakers) or 'none'}")
        wish = await _wish(request)
        if wish is None:
            return _wrong(400, 'the body is JSON: {"reason": "…", "by": "…"}, or empty')
        try:
            obeying.order(Order(circuit=name, to=to, reason=wish.reason, by=wish.by, at=time.time()))
        except OSError as error:
            return _wrong(500, f"it cannot be written for the other processes, and is not done: {error}")
        return _json(next(each for each in process.state().circuits if each.name == name))

    return order


def _is_of_a_proxy(header: str) -> bool:
    return header in HANDED_ON or header.startswith("x-forwarded-")


def _is_here(request: Request) -> bool:
    if request.client is None or any(map(_is_of_a_proxy, request.headers)):
        return False
    try:
        host = ip_address(request.client.host.partition("%")[0])
    except ValueError:  # whatever serves this knows who asks by something else
        return False
    return ((host.ipv4_mapped if isinstance(host, IPv6Address) else None) or host) in HERE


async def _wish(request: Request) -> Wish | None:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST:
            return None
    try:
        return msgspec.json.decode(body, type=Wish) if body.strip() else Wish()
    except msgspec.MsgspecError:
        return None


def _short(state: State, *, ok: bool) -> Response:
    return _json({"ok": ok, "stage": state.stage, "status": state.status, "reasons": state.reasons}, 200 if ok else 503)


def _wrong(status: int, why: str) -> Response:
    return _json({"error": why}, status)


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
