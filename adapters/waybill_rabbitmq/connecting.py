"""From a URL and settings to an open connection: one attempt at each server, in a random order."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

from waybill.errors import BrokerUnavailable, ConfigurationError
from waybill.foreign import CredentialsRefused
from waybill.tables import secret_in, tls
from waybill_rabbitmq.client import Connection
from waybill_rabbitmq.mapping import mapped
from waybill_rabbitmq.options import BrokerTable

__all__ = ["Connector", "Place", "locate"]

PORTS = {"amqp": 5672, "amqps": 5671}


class Place(msgspec.Struct, frozen=True):
    """Where the broker is and who we are there, as far as the URL says."""

    secure: bool
    servers: tuple[tuple[str, int], ...]
    vhost: str
    username: str
    password: str


def locate(url: str, table: BrokerTable) -> Place:
    """Read the URL. Raises `ConfigurationError`."""
    parts = urlsplit(url)
    if parts.scheme not in PORTS:
        raise ConfigurationError(f"{parts.scheme}:// is not RabbitMQ's: write amqp://host or amqps://host")
    if unknown := sorted({name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}):
        raise ConfigurationError(
            f"the URL's {', '.join(unknown)}: RabbitMQ's settings are not in the URL but in [broker.rabbitmq]"
        )
    try:
        servers = [(parts.hostname or "localhost", parts.port or PORTS[parts.scheme])]
        servers += [_server(host, PORTS[parts.scheme]) for host in table.hosts]
    except ValueError as error:
        raise ConfigurationError(
            f"the URL cannot be read: {error}; write amqp://user:password@host:5672/vhost"
        ) from None
    return Place(
        secure=parts.scheme == "amqps",
        servers=tuple(servers),
        vhost=unquote(parts.path.removeprefix("/")) or "/",
        username=table.username or unquote(parts.username or "guest"),
        password=table.password.get_secret_value() if table.password else unquote(parts.password or "guest"),
    )


def _server(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"hosts: {text!r} is no host")
    return parts.hostname, parts.port or port


class Connector:
    """Opens connections to one broker."""

    def __init__(self, place: Place, table: BrokerTable, application: str) -> None:
        self._place = place
        self._table = table
        self._application = application

    @property
    def name(self) -> str:
        """For people, without any secret."""
        host, port = self._place.servers[0]
        return f"{host}:{port}"

    @property
    def vhost(self) -> str:
        return self._place.vhost

    async def open(self, role: str) -> Connection:
        """Connect to one of the servers. Raises `BrokerUnavailable` with what each of them said."""
        servers = list(self._place.servers)
        random.shuffle(servers)
        failures: list[str] = []
        for server in servers:
            try:
                return await self._open(*server, role)
            except CredentialsRefused as error:
                raise CredentialsRefused(f"{error}: {self._checks}") from error
            except BrokerUnavailable as error:
                failures.append(str(error))
        raise BrokerUnavailable("; ".join(failures))

    @property
    def _checks(self) -> str:
        place = self._place
        return f"check user {place.username!r}, its password, and its rights on the virtual host {place.vhost!r}"

    async def _open(self, host: str, port: int, role: str) -> Connection:
        where = f"cannot connect to {host}:{port}"
        with mapped(where):
            async with asyncio.timeout(self._table.connect_timeout):
                connection = Connection(
                    self._url(host, port),
                    context=await asyncio.to_thread(self.tls) if self._place.secure else None,
                    client_properties=self._properties(role),
                )
                library: Any = connection  # of whose types this one is left open
                await library.connect()
                return connection

    def _url(self, host: str, port: int) -> str:
        place = self._place
        scheme, address = "amqps" if place.secure else "amqp", f"[{host}]" if ":" in host else host
        who, path = ":".join(quote(part, safe="") for part in self.credentials()), quote(place.vhost, safe="")
        return f"{scheme}://{who}@{address}:{port}/{path}?heartbeat={self._table.heartbeat}"

    def credentials(self) -> tuple[str, str]:
        """User and password, as they are now. Raises `BrokerUnavailable`."""
        place, file = self._place, self._table.password_file
        return place.username, place.password if file is None else secret_in(file, "password_file")

    def tls(self) -> ssl.SSLContext:
        """Who is believed to be the broker, and who we are. Read anew each time."""
        return tls(self._table.cafile, self._table.certfile, self._table.keyfile)

    def _properties(self, role: str) -> dict[str, Any]:
        name = f"{self._application} {role} ({socket.gethostname()} {os.getpid()})"
        return {"product": "Waybill", "version": _version(), "connection_name": name, "information": ""}


def _version() -> str:
    try:
        return version("waybill")
    except PackageNotFoundError:
        return ""
