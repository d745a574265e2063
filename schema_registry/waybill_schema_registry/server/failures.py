"""Errors as the API answers them: `{"error_code": …, "message": …}`; the status is the code's first three digits."""

from __future__ import annotations

import logging
import secrets
from http import HTTPStatus

import msgspec

from waybill_schema_registry.errors import RegistryError, StoreError
from waybill_schema_registry.server.answers import Answer

__all__ = ["Failure", "Refused", "failed", "status_of"]

log = logging.getLogger("waybill.registry")

EXTRA: dict[int, tuple[tuple[bytes, bytes], ...]] = {
    401: ((b"www-authenticate", b'Basic realm="schema registry", Bearer'),),
    503: ((b"retry-after", b"1"),),
}


class Failure(msgspec.Struct, frozen=True):
    """The body of every error."""

    error_code: int
    message: str


class Refused(RegistryError):
    """What HTTP itself refuses: 400, 404, 405, 406, 413, 415, 422, 503. headers: of the answer."""

    code = 400

    def __init__(self, code: int, text: str = "", headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(text or f"HTTP {code} {HTTPStatus(code).phrase}", code=code)
        self.headers = headers


def status_of(code: int) -> int:
    return code // 100 if code > 999 else code


def failed(error: BaseException, what: str) -> Answer:
    """The answer for what went wrong. what: the operation, for the log."""
    if isinstance(error, RegistryError):
        code, text = error.code, str(error)
        if isinstance(error, StoreError):
            log.warning("%s: the store failed: %s", what, text)
    elif isinstance(error, TimeoutError):
        code, text = 50002, "The operation took too long. Whether it was done is not known; doing it again is safe."
        log.warning("%s took too long", what)
    else:
        mark = secrets.token_hex(4)
        code, text = 50001, f"Internal error {mark}; the server's log says more."
        log.error("%s: internal error %s", what, mark, exc_info=error)
    status = status_of(code)
    headers = error.headers if isinstance(error, Refused) else ()
    body = msgspec.json.encode(Failure(code, text))
    return Answer(status, body, headers=(*headers, *EXTRA.get(status, ())), code=code)
