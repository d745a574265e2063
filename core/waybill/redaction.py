"""Secrets out of what people read: logs, listings, dead letters' details, spans.

What is found: what a name such as `password` or `token` stands before, user and password in URLs, tokens by their known
forms, keys in PEM; the input that Pydantic quotes; and, where they are named by `secrets_of`, what a message's own secret
headers and fields hold. A secret that nothing gives away is not found.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waybill.message import Message

__all__ = ["MASK", "looks_secret", "redact", "secrets_of", "shown_headers"]

MASK = "***"
NAMES = (
    r"pass(?:word|wd|phrase)?|pwd|secret|tok(?:en)?|api[_-]?key|access[_-]?key|private[_-]?key|auth|authorization|"
    r"credentials?|cookie|session[_-]?id|signature|pin|cvv|cvc|iban|ssn|card[_-]?(?:number|no)?"
)
_NAME = re.compile(rf"(?:^|[^a-z0-9])(?:[a-z0-9]*[_-])?(?:{NAMES})s?(?:$|[^a-z0-9])")
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
"""Between the words of a name in camel case."""
LONG_NAMES = (
    r"password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|authorization|credentials?|"
    r"cookie|session[_-]?id|signature|cvv|iban|card[_-]?number"
)
"""Those that may stand within a longer name."""

LOOKED_AT = 64 << 10
"""Characters of a body in which secret fields are looked for."""
SHORTEST = 4
"""Characters that a value must have to be looked for elsewhere: a shorter one is in every text."""
MOST = 50
"""Values of one message that are looked for."""

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL), MASK),
    (re.compile(r"\b([a-z][a-z0-9+.-]{0,20}://)[^\s/@'\"]{1,256}@", re.IGNORECASE), rf"\1{MASK}@"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?"), MASK),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[a-z]_\w{20,}|\bxox[a-z]-[\w-]{10,}|\b[spr]k_(?:live|test)_\w{8,}"), MASK),
    (re.compile(r"\b(input_value=).{0,4096}?(, input_type=|$)", re.DOTALL), rf"\1{MASK}\2"),
    (
        re.compile(
            rf"""((?:(?:{LONG_NAMES})[\w-]{{0,20}}|(?<![a-z0-9])(?:pwd|pass|auth|pin|cvc|ssn)(?![a-z0-9]))["']?\]?\s{{0,3}}[:=]{{1,2}}>?\s{{0,3}})"""
            r"""("(?:[^"\\\n]|\\.){1,4096}"?|'(?:[^'\\\n]|\\.){1,4096}'?|[^\s,;&"'()\[\]{}]{1,4096})""",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
)  # fmt: skip
"""Each is bounded, so that no text makes it slow."""

_FIELD = re.compile(r'"([\w.-]{1,64})"\s{0,3}:\s{0,3}(?:"((?:[^"\\]|\\.){1,1024})"|(-?\d[\d.]{3,40}))')
"""A field of a JSON object, and what it holds."""


def looks_secret(name: str, marked: Collection[str] = ()) -> bool:
    """Whether what a header or a field of that name holds is to be shown nowhere: by its look, or as one of `marked`."""
    plain = _WORDS.sub("_", name).lower()
    return _NAME.search(plain) is not None or re.search(LONG_NAMES, plain) is not None or name.lower() in marked


def shown_headers(headers: Mapping[str, str], marked: Collection[str] = ()) -> dict[str, str]:
    """The headers, as they may be shown. marked: names in lower case whose values are secret as well."""
    return {name: MASK if looks_secret(name, marked) else value for name, value in headers.items()}


def redact(text: str, values: Iterable[str] = ()) -> str:
    """The text without what looks like a secret in it, and without `values`."""
    for value in values:
        text = text.replace(value, MASK)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def secrets_of(message: Message, marked: Collection[str] = ()) -> list[str]:
    """What the message's secret headers hold, and those fields of its body that look secret, where that is JSON.

    An error may quote them, and `redact` finds them then. The longest come first: one may be a part of another.
    """
    found = {value for name, value in message.headers.items() if looks_secret(name, marked)}
    text = (message.body or b"")[:LOOKED_AT].decode("utf-8", "replace")
    for match in _FIELD.finditer(text):
        if looks_secret(match[1], marked):
            found.add(match[2] or match[3])
    return sorted((value for value in found if len(value) >= SHORTEST), key=len, reverse=True)[:MOST]
