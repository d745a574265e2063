"""What a user's headers may be, so that every broker can carry them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from waybill.envelope import RESERVED
from waybill.errors import ConfigurationError
from waybill.message import NO_HEADERS

__all__ = ["MAX_HEADERS", "check_headers", "is_id", "is_text", "size"]

MAX_HEADERS = 256
MAX_NAME = 128
MAX_ID = 256
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
ROUTING = frozenset({"cc", "bcc"})
"""RabbitMQ sends a copy to whatever these name."""
OURS = ("waybill", "ce_", "ce-", "cloudevents:", "cloudevents_", "x-death", "x-delay", "x-stream-", "aws.", "amazon.")


def check_headers(headers: Mapping[str, str] | None) -> Mapping[str, str]:
    """The headers as they will travel. Raises `ConfigurationError` naming the header that cannot."""
    if not headers:
        return NO_HEADERS
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"headers={headers!r:.80}: a dict of names and texts")
    if len(headers) > MAX_HEADERS:
        raise ConfigurationError(f"{len(headers)} headers: at most {MAX_HEADERS} can be carried")
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigurationError(
                f"header {name!r}: names and values are text; write {value!r} as text, e.g. str(value)"
            )
        low = name.lower()
        if low in ROUTING or low in RESERVED or low.startswith(OURS) or low == "content-type":
            raise ConfigurationError(f"header {name!r} has a meaning to brokers or to Waybill: use another name")
        if not 1 <= len(name) <= MAX_NAME or CONTROL.search(name + value) or not is_text(name + value):
            raise ConfigurationError(
                f"header {name!r}: names are 1 to {MAX_NAME} characters, and neither name nor value holds control characters"
            )
    return MappingProxyType(dict(headers))


def size(headers: Mapping[str, str]) -> int:
    """Bytes the headers take, about."""
    return sum(len(name.encode()) + len(value.encode()) for name, value in headers.items())


def is_text(text: str) -> bool:
    """Whether it can be written as UTF-8: no half of a surrogate pair is left alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_id(value: object) -> bool:
    """Whether it can be a message's id: a text of 1 to 256 characters that fits one line of a log."""
    return isinstance(value, str) and 1 <= len(value) <= MAX_ID and value.isprintable()
