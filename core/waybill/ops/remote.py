"""Asking a process over HTTP, for a command line: one question at a time, waited for."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import TypeVar
from urllib.parse import quote

import msgspec

from waybill.errors import BrokerUnavailable, ConfigurationError
from waybill.ops.folder import Order
from waybill.ops.state import Circuit, State

__all__ = ["ask", "tell"]

S = TypeVar("S", bound=msgspec.Struct)

PATIENCE = 5.0
"""Seconds to wait for an answer."""


class Refusal(msgspec.Struct):
    """What a process says that does not do it."""

    error: str = ""


def ask(url: str) -> State:
    """How the process at `url` (`Settings.ops`) is. Raises `ConfigurationError`, `BrokerUnavailable`."""
    return _decoded(url, _call(url, "/health"), State)


def tell(url: str, order: Order) -> Circuit:
    """Have it done there, and by its siblings if they share a folder. Raises `ConfigurationError`, `BrokerUnavailable`."""
    wish = msgspec.json.encode({"reason": order.reason, "by": order.by})
    path = f"/circuits/{quote(order.circuit, safe='')}/{order.to}"
    return _decoded(url, _call(url, path, wish), Circuit)


def _call(url: str, path: str, body: bytes | None = None) -> bytes:
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"--ops {url}: give the URL of a process, for instance http://127.0.0.1:9100")
    try:
        with urllib.request.urlopen(url.rstrip("/") + path, body, PATIENCE) as answer:  # noqa: S310 - looked at above
            found: bytes = answer.read()
            return found
    except urllib.error.HTTPError as error:
        with error:
            raise ConfigurationError(f"{url}: {_why(error)}") from error
    except (OSError, http.client.HTTPException) as error:
        raise BrokerUnavailable(f"{url} does not answer: {error}") from error


def _why(error: urllib.error.HTTPError) -> str:
    try:
        said = msgspec.json.decode(error.read(), type=Refusal).error
    except msgspec.MsgspecError:
        said = ""
    return said or f"{error.code} {error.reason}: is that where a process answers operators?"


def _decoded(url: str, body: bytes, sort: type[S]) -> S:
    try:
        return msgspec.json.decode(body, type=sort)
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"{url} answers something else: is that where a process answers operators?") from error
