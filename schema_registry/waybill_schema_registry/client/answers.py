"""What the answers of a registry mean: from status, `error_code` and text to our errors. Pure.

Registries differ (SCHEMA-REGISTRY §1.9, §2.4): Karapace says 409 for 40901, Apicurio names a Java exception, and what is no
registry at all answers 404 as well, with a page for people. Only an `error_code` of a registry says that something is not
there: a wrong path must not look like a schema that nobody has.
"""

from __future__ import annotations

from typing import Any

import msgspec

from waybill.errors import shown
from waybill_schema_registry.errors import (
    Conflict,
    Forbidden,
    Incompatible,
    Invalid,
    InvalidSchema,
    NoRegistry,
    NotFound,
    RegistryError,
    RegistryUnavailable,
)

__all__ = ["DUBIOUS", "LATER", "error_of", "no_registry", "read"]

LATER = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same may be asked again."""
DUBIOUS = frozenset({500, 502, 504})
"""Those of them after which it may have been done all the same."""

KINDS: dict[int, type[RegistryError]] = {
    40901: Incompatible,
    409: Incompatible,  # Karapace
    42201: InvalidSchema,
    44201: InvalidSchema,  # Karapace, once
    42209: InvalidSchema,
}
STATUSES: dict[int, type[RegistryError]] = {
    400: Invalid,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: InvalidSchema,
    422: Invalid,
}


class Refusal(msgspec.Struct):
    """The body of an error, as far as it is one."""

    error_code: int | None = None
    message: str = ""
    name: str = ""


def error_of(status: int, body: bytes, where: str) -> RegistryError:
    """The error that an answer of 300 or more stands for. where: who answered, without secrets."""
    refusal = _refusal(body)
    code, text = refusal.error_code, shown(refusal.message or "it says no more", 2000)
    if status in {401, 403}:
        return Forbidden(f"{where} {_refused(status)}: {text}", code=code or status)
    if 300 <= status < 400:
        return no_registry(where, f"it sends elsewhere ({status}), and nobody is followed there: name that URL itself")
    if status in LATER:
        return RegistryUnavailable(f"{where} cannot answer now ({status}): {text}", code=code or status * 100)
    if status == 404 and not _is_missing(refusal):
        return no_registry(where, "it knows no such path (404)")
    kind = KINDS.get(code or 0) or STATUSES.get(status, RegistryError)
    if kind is RegistryError:
        text = f"{where} refuses ({status}): {text}"
    return kind(text) if kind is Incompatible else kind(text, code=code or status * 100)


def no_registry(where: str, why: str) -> NoRegistry:
    """What answers is no registry. Trying again helps nobody, but neither does it say anything about a schema."""
    return NoRegistry(
        f"{where} answers, but not as a registry does: {why}. Check the URL: its host, its port, and the path before /subjects"
    )


def _refusal(body: bytes) -> Refusal:
    try:
        return msgspec.json.decode(body, type=Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refusal()


def _is_missing(refusal: Refusal) -> bool:
    """Whether a registry says that something is not there. A plain 404 is what Confluent's server says of a wrong path."""
    code = refusal.error_code or 0
    return 40400 <= code <= 40499 or (code == 404 and refusal.name.endswith("NotFoundException"))


def _refused(status: int) -> str:
    if status == 403:
        return "does not allow this (403): ask for the right, or use another user"
    return "does not know who asks (401): check WAYBILL_REGISTRY_USER and _PASSWORD, or _TOKEN, or what the URL says"


def read(body: bytes, kind: Any, where: str) -> Any:
    """An answer as what it should be. Raises `RegistryUnavailable`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise no_registry(where, f"what it sends cannot be read ({shown(str(error), 200)})") from error
