"""Signature Version 4 of a call of SQS: a POST to a plain URL, so nothing has to be parsed, sorted out and copied.

The library's own is made for whatever request there may be, and takes four times as long. Anything else than such a call is left
to it. See docs/adr/0033. Source: Signature Version 4, in AWS's reference of IAM.
"""

from __future__ import annotations

import functools
import hmac
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import botocore.auth  # pyright: ignore[reportMissingTypeStubs]

__all__ = ["Signer", "sign_quickly"]

library: Any = botocore.auth
VERSION = "waybill-v4"
UNSIGNED = frozenset({"expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"})
"""Headers that whoever stands between may change."""
OTHERWISE = frozenset({"authorization", "date", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"})
"""Headers of a request that is signed already, or in another way."""
PORTS = {"http": 80, "https": 443}


def sign_quickly(client: Any) -> None:
    """Have a client sign so."""
    library.AUTH_TYPE_MAPS.setdefault(VERSION, Signer)
    client.meta.events.register("choose-signer.sqs", _choose)


def _choose(signature_version: object, **_: object) -> str | None:
    """`None`: whatever the library, or who configured it, wants."""
    return VERSION if signature_version == "v4" and library.AUTH_TYPE_MAPS["v4"] is library.SigV4Auth else None


class Signer(library.SigV4Auth):  # type: ignore[misc]
    """Of one call, with the credentials of that moment."""

    def add_auth(self, request: Any) -> None:
        host = _host(request.url)
        headers = {name.lower(): " ".join(value.split()) for name, value in request.headers.items()}
        if self.credentials is None or host is None or not self._is_plain(request, headers):
            library.SigV4Auth.add_auth(self, request)
            return
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        added = {"X-Amz-Date": stamp}
        if self.credentials.token:
            added["X-Amz-Security-Token"] = self.credentials.token
        headers |= {"host": host} | {name.lower(): value for name, value in added.items()}
        added["Authorization"] = self._authorization(stamp, headers, request.data)
        for name, value in added.items():
            request.headers[name] = value

    def _is_plain(self, request: Any, headers: dict[str, str]) -> bool:
        return (
            request.method == "POST"
            and not request.params
            and type(request.data) is bytes
            and request.context.get("payload_signing_enabled", True)
            and OTHERWISE.isdisjoint(headers)
        )

    def _authorization(self, stamp: str, headers: dict[str, str], body: bytes) -> str:
        names = sorted(name for name in headers if name not in UNSIGNED)
        lines = "".join(f"{name}:{headers[name]}\n" for name in names)
        signed = ";".join(names)
        request = f"POST\n/\n\n{lines}\n{signed}\n{sha256(body).hexdigest()}"
        scope = (stamp[:8], self._region_name, self._service_name, "aws4_request")
        where = "/".join(scope)
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{where}\n{sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(_key(self.credentials.secret_key, *scope), text.encode(), "sha256").hex()
        who = f"{self.credentials.access_key}/{where}"
        return f"AWS4-HMAC-SHA256 Credential={who}, SignedHeaders={signed}, Signature={signature}"


@functools.lru_cache(maxsize=8)
def _key(secret: str, *scope: str) -> bytes:
    """The same for a day."""
    key = f"AWS4{secret}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    return key


@functools.lru_cache(maxsize=64)
def _host(url: str) -> str | None:
    """As the `Host` header names it; `None` where the URL is more than a host."""
    parts = urlsplit(url)
    if parts.path not in {"", "/"} or parts.query or parts.username or not parts.hostname or ":" in parts.hostname:
        return None
    return parts.hostname if parts.port in {None, PORTS.get(parts.scheme)} else f"{parts.hostname}:{parts.port}"
