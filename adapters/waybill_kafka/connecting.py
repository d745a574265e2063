"""From a URL and settings to what the library's clients are told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from waybill.errors import ConfigurationError
from waybill.tables import secret_in, tls
from waybill_kafka.client import TokenProvider
from waybill_kafka.options import BrokerTable

__all__ = ["Place", "common", "locate"]

PORT = 9092
SCHEMES = {"kafka": False, "kafka+ssl": True}


class Place(msgspec.Struct, frozen=True):
    """Where the broker is and who we are there."""

    servers: tuple[str, ...]
    secure: bool
    username: str | None
    password: str | None

    @property
    def name(self) -> str:
        """For people, without any secret."""
        return ",".join(self.servers)


def locate(url: str, table: BrokerTable) -> Place:
    """Read the URL. Raises `ConfigurationError`."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ConfigurationError(f"{parts.scheme}:// is not Kafka's: write kafka://host:port or kafka+ssl://host:port")
    if parts.path.strip("/") or parse_qsl(parts.query, keep_blank_values=True):
        raise ConfigurationError(
            "the URL has more than servers: Kafka's settings are not in the URL but in [broker.kafka]"
        )
    user, _, hosts = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    place = Place(
        servers=tuple(_server(host) for host in (hosts or "localhost").split(",")),
        secure=SCHEMES[parts.scheme] if table.security is None else table.security == "tls",
        username=table.username or unquote(name) or None,
        password=table.password.get_secret_value() if table.password else unquote(password) or None,
    )
    if _mechanism(place, table) == "PLAIN" and not place.secure and not table.plain_without_tls:
        raise ConfigurationError(
            "the password would travel readable by everybody on the way: use kafka+ssl://, or sasl = 'SCRAM-SHA-512' in "
            "[broker.kafka], or plain_without_tls = true where nobody can listen"
        )
    return place


def _server(text: str) -> str:
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname, parts.port or PORT
    except ValueError as error:
        raise ConfigurationError(f"the URL cannot be read: {error}; write kafka://host:port,host:port") from None
    if not host:
        raise ConfigurationError("the URL names no server between two commas; write kafka://host:port,host:port")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _mechanism(place: Place, table: BrokerTable) -> str | None:
    return table.sasl or ("PLAIN" if place.username else None)


async def common(place: Place, table: BrokerTable, name: str) -> dict[str, Any]:
    """What every client is told. `name`: what the broker calls it in its logs."""
    told: dict[str, Any] = {
        "bootstrap_servers": list(place.servers),
        "client_id": name,
        "request_timeout_ms": round(table.request_timeout * 1000),
        "retry_backoff_ms": 100,
        "metadata_max_age_ms": 30_000,
    }
    mechanism = _mechanism(place, table)
    told["security_protocol"] = ("SASL_" if mechanism else "") + ("SSL" if place.secure else "PLAINTEXT")
    if place.secure:
        told["ssl_context"] = await asyncio.to_thread(_tls, table.cafile, table.certfile, table.keyfile)
    if mechanism == "OAUTHBEARER":
        told |= {
            "sasl_mechanism": mechanism,
            "sasl_oauth_token_provider": TokenProvider(_token_in(str(table.token_file))),
        }
    elif mechanism is not None:
        told |= {
            "sasl_mechanism": mechanism,
            "sasl_plain_username": place.username or "",
            "sasl_plain_password": place.password or "",
        }
    return told


_tls = lru_cache(maxsize=8)(tls)
"""One for all clients that are told the same: each would read the authorities' certificates anew."""


def _token_in(file: str) -> Callable[[], Awaitable[str]]:
    """A token that somebody else keeps fresh in a file."""

    async def ask() -> str:
        return await asyncio.to_thread(secret_in, file, "token_file")

    return ask
