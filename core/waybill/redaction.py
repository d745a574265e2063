"""Secrets out of what people read: logs, listings, dead letters' details, spans.

What is found: what a name such as `password` or `token` stands before, user and password in URLs, tokens by their known
forms, keys in PEM; the input that Pydantic quotes; and, where they are named by `secrets_of`, what a message's own secret
headers and fields hold. A secret that nothing gives away is not found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from waybill.message import Message

__all__ = ["MASK", "looks_secret", "redact", "secrets_of", "shown_body", "shown_headers"]

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
"""Bytes of a body in which secret fields are looked for that a text may quote. A body that is shown is looked at whole."""
SHORTEST = 4
"""Characters that a value must have to be looked for elsewhere: a shorter one is in every text."""
LONGEST = 200
"""Characters of a name that are looked at."""
MOST = 1000
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

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*+)"?(\s*+:)?|[{}\[\]]|[^\s{}\[\],:"]++', re.DOTALL)
"""Of JSON: a string, with the colon behind it where it is the name of a field; a bracket; any other value."""


def looks_secret(name: str, marked: Collection[str] = ()) -> bool:
    """Whether what a header or a field of that name holds is to be shown nowhere: by its look, or as one of `marked`."""
    return name.lower() in marked or _gives_away(name[:LONGEST])


@lru_cache(1024)
def _gives_away(name: str) -> bool:
    plain = _WORDS.sub("_", name).lower()
    return _NAME.search(plain) is not None or re.search(LONG_NAMES, plain) is not None


def shown_headers(headers: Mapping[str, str], marked: Collection[str] = ()) -> dict[str, str]:
    """The headers, as they may be shown. marked: names in lower case whose values are secret as well."""
    return {name: MASK if looks_secret(name, marked) else redact(value) for name, value in headers.items()}


def shown_body(body: bytes, values: Collection[str] = (), marked: Collection[str] = ()) -> bytes:
    """The body, as it may be shown: JSON stays JSON, with `***` for all in secret fields. The rest is as it came.

    values: secrets from elsewhere, which stand in no text. marked: as in `shown_headers`.
    """
    text = body.decode("utf-8", "surrogateescape")
    shown, done = list[str](), 0
    for match, hidden in _tokens(text, marked):
        shown += text[done : match.start()], _shown(match, values, hidden=hidden)
        done = match.end()
    whole = "".join([*shown, text[done:]])
    return (whole if _is_json(body) else redact(whole, values)).encode("utf-8", "surrogateescape")


def redact(text: str, values: Iterable[str] = ()) -> str:
    """The text without what looks like a secret in it, and without `values`."""
    for value in values:
        text = text.replace(value, MASK)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def secrets_of(message: Message, marked: Collection[str] = ()) -> list[str]:
    """What the message's secret headers hold, and all within fields of its body that look secret, where that is JSON.

    An error may quote them, as they are or escaped, and `redact` finds them then. The longest come first: one may be
    a part of another.
    """
    found = {value for name, value in message.headers.items() if looks_secret(name, marked)}
    text = (message.body or b"")[:LOOKED_AT].decode("utf-8", "replace")
    for match, hidden in _tokens(text, marked):
        if hidden:
            raw = match[0] if match[1] is None else match[1]
            value = _unescaped(raw)
            quoted = json.dumps(value), json.dumps(value, ensure_ascii=False), repr(value)
            found |= {raw, value, *(each[1:-1] for each in quoted)}
    return sorted((value for value in found if len(value) >= SHORTEST), key=len, reverse=True)[:MOST]


def _tokens(text: str, marked: Collection[str]) -> Iterator[tuple[re.Match[str], bool]]:
    """The strings, names and other values of JSON, or of what is near it; and whether each is a secret value."""
    depth, secret_from, secret = 0, 0, False
    for match in _TOKEN.finditer(text):
        sort = match[0][0]
        if match[2]:
            secret = looks_secret(_unescaped(match[1]), marked)
            yield match, False
        elif sort in "{[":
            depth += 1
            if secret and not secret_from:
                secret_from = depth
            secret = False
        elif sort in "}]":
            secret_from = 0 if depth == secret_from else secret_from
            depth = max(0, depth - 1)
        else:
            yield match, (secret or secret_from > 0) and match[0] not in {"null", "true", "false"}
            secret = False


def _shown(match: re.Match[str], values: Collection[str], *, hidden: bool) -> str:
    if hidden or (match[1] is None and match[0] in values):
        return f'"{MASK}"'
    if match[1] is None:
        return match[0]
    plain = _unescaped(match[1])
    shown = redact(plain, values)
    if shown == plain:
        return match[0]
    return json.dumps(shown, ensure_ascii=not shown.isprintable()) + (
        match[2] or ""
    )  # no half of a character is printable


def _unescaped(raw: str) -> str:
    """What stands between the quotes of a string of JSON; as it is where it is none."""
    if "\\" not in raw:
        return raw
    try:
        return str(json.loads(f'"{raw}"', strict=False))
    except ValueError:
        return raw


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return False
    return True
