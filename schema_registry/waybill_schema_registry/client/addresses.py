"""The URLs of a registry, taken apart by hand: a password may hold what `urlsplit` takes for the end of the host. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from waybill.errors import ConfigurationError

__all__ = ["Address", "addresses", "safe"]

BEFORE_URL = re.compile(r",\s*(?=https?://)", re.IGNORECASE)
WHOLE = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:(?P<port>[0-9]{1,5}))?(/[^?#\s]*)?")


@dataclass(frozen=True, slots=True)
class Address:
    """One server. base: without a slash at its end, and without secrets."""

    base: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def addresses(url: str) -> list[Address]:
    """`http://host:8081`, or several with commas between; each with its credentials, or all with the first's where only the
    first has a scheme. Raises `ConfigurationError`, without the secrets."""
    return [address for one in BEFORE_URL.split(url.strip()) for address in _servers(one)]


def safe(url: str) -> str:
    """The URL for people: without passwords, whatever characters are in them, and without parameters."""
    return ",".join(map(_safe, BEFORE_URL.split(url.strip())))


def _safe(url: str) -> str:
    found = WHOLE.fullmatch(url)
    if found is None:
        return "(a URL without a scheme)" if "@" in url else url
    credentials, at, host = found["rest"].rpartition("@")
    user, colon, _ = credentials.partition(":")
    return f"{found['scheme']}://{user}{':***' if colon else ''}{at}{host.partition('?')[0]}"


def _servers(url: str) -> list[Address]:
    found = WHOLE.fullmatch(url)
    if found is None or found["scheme"].lower() not in {"http", "https"}:
        raise ConfigurationError(f"{_safe(url)!r} names no registry: write http://host:8081")
    credentials, at, hosts = found["rest"].rpartition("@")
    user, colon, password = credentials.partition(":")
    return [
        Address(
            _base(found["scheme"].lower(), host, url),
            unquote(user) if at else None,
            unquote(password) if colon else None,
        )
        for host in hosts.split(",")
    ]


def _base(scheme: str, host: str, url: str) -> str:
    found = HOST.fullmatch(host.strip())
    if found is None or not 0 < int(found["port"] or 1) < 65536:
        raise ConfigurationError(
            f"{_safe(url)!r} cannot be the URL of a registry: write http://host:8081, with %40 for an @ in its path, and "
            f"without parameters"
        )
    return f"{scheme}://{host.strip().rstrip('/')}"
