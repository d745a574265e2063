"""How a registry is reached over HTTP: who asks, whom it believes, how long it waits."""

from __future__ import annotations

import math
import os
import ssl
from base64 import b64encode
from dataclasses import dataclass, field

from waybill.errors import ConfigurationError
from waybill.tables import tls

__all__ = ["Access"]

PREFIX = "WAYBILL_REGISTRY_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """user, password: basic authentication; token: bearer authentication instead. What is not given comes from the URL, then
    from `WAYBILL_REGISTRY_USER`, `_PASSWORD` and `_TOKEN`. cafile: who signs the registry's certificate, instead of whom this
    machine trusts. certfile, keyfile: our own. timeout: seconds for one answer. retries: how often one more is asked for where
    a registry cannot be reached, or says that it cannot answer now (408, 429, 5xx). backoff: seconds before the first of them,
    doubled each time. largest: bytes of an answer; a longer one is refused. Raises `ConfigurationError`.
    """

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    timeout: float = 10.0
    retries: int = 3
    backoff: float = 0.2
    largest: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        for name in ("timeout", "largest"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigurationError(f"Access({name}={getattr(self, name)!r}): more than 0")
        for name in ("retries", "backoff"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigurationError(f"Access({name}={getattr(self, name)!r}): 0 or more")
        if self.token is not None and (self.user is not None or self.password is not None):
            raise ConfigurationError("Access: give a token, or a user and a password, not both")
        if self.keyfile is not None and self.certfile is None:
            raise ConfigurationError(
                "Access(keyfile=…): the certificate it belongs to is missing: give certfile as well"
            )

    def header(self, user: str | None, password: str | None) -> str | None:
        """The `Authorization` of a request, if any. user, password: of its URL."""
        if self.token is None and self.user is None and user is None:
            return self._from_environment()
        if self.token is not None:
            return _bearer(self.token)
        name = self.user if self.user is not None else user
        secret = (
            self.password if self.password is not None else password if password is not None else _named("PASSWORD")
        )
        return _basic(name or "", secret or "")

    def _from_environment(self) -> str | None:
        token, user = _named("TOKEN"), _named("USER")
        if token is not None and user is not None:
            raise ConfigurationError(f"{PREFIX}TOKEN and {PREFIX}USER are both set: set one of them")
        if token is not None:
            return _bearer(token)
        return None if user is None else _basic(user, self.password or _named("PASSWORD") or "")

    def tls(self) -> ssl.SSLContext:
        """Reads the files. Raises `ConfigurationError`."""
        try:
            return tls(self.cafile, self.certfile, self.keyfile)
        except OSError as error:  # ssl's own errors are
            files = ", ".join(f for f in (self.cafile, self.certfile, self.keyfile) if f)
            raise ConfigurationError(f"the certificates of the registry cannot be used ({files}): {error}") from error


def _named(name: str) -> str | None:
    return os.environ.get(PREFIX + name) or None


def _basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def _bearer(token: str) -> str:
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError("the registry's token is none: it has characters that no header can carry")
    return f"Bearer {token}"
