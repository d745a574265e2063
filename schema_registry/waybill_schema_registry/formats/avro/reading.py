"""JSON texts and values, read so that nothing in them harms us."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeGuard

import msgspec

from waybill_schema_registry.errors import InvalidSchema

__all__ = ["is_list", "is_object", "members_of", "raw_items", "read", "write", "write_lines"]

COMMENTS = re.compile(r'("(?:[^"\\]|\\.)*")|/\*.*?\*/|//[^\n]*', re.DOTALL)
SPACES = (b'": ', b'" :', b"\n")
MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
ENCODER = msgspec.json.Encoder()


def is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def read(text: str | bytes) -> Any:
    """A JSON value. Of keys that stand twice the last counts, as with Jackson. Raises `InvalidSchema`."""
    try:
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            if isinstance(text, str) and "/" in text:
                return msgspec.json.decode(without_comments(text))
            raise
    except RecursionError:
        raise InvalidSchema("The schema is nested too deeply: make named types of its parts") from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise InvalidSchema(f"The schema is not JSON: {error}") from None


def without_comments(text: str) -> str:
    """Java's parser takes `/* … */` and `// …` in schemas, so those that are stored may have them."""
    return COMMENTS.sub(lambda found: found[1] or " ", text)


def members_of(text: str | bytes) -> dict[str, msgspec.Raw] | None:
    """The members of an object, not read yet; None if it is something else, or not sound."""
    try:
        return MEMBERS.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def raw_items(text: msgspec.Raw) -> list[msgspec.Raw] | None:
    """The items of a list, not read yet, and without space around their parts, so that equal items are equal texts; None if
    it is something else."""
    try:
        raw = bytes(text)
        spaced = any(space in raw[:400] for space in SPACES)
        return ITEMS.decode(msgspec.json.format(raw, indent=-1) if spaced else raw)
    except (msgspec.MsgspecError, RecursionError):
        return None


def write(value: Any) -> bytes:
    """A JSON value as text. Raises `InvalidSchema` for what is none."""
    return written(ENCODER.encode, value)


def write_lines(values: list[Any]) -> bytes:
    """JSON values as texts, each on a line that ends. Raises `InvalidSchema` for what is none."""
    return written(ENCODER.encode_lines, values)


def written(encode: Callable[[Any], bytes], value: Any) -> bytes:
    try:
        return encode(value)
    except RecursionError:
        raise InvalidSchema(
            "The schema is nested too deeply, or contains itself: make named types of its parts"
        ) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidSchema(f"The schema is not a JSON value: {error}") from None
