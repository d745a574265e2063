"""What stands before the Avro data of a body and says which schema wrote it (SCHEMA-REGISTRY §2.7). Pure."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Final, TypeAlias

from waybill.errors import DecodeError

__all__ = [
    "HEADER",
    "ByFingerprint",
    "ByGuid",
    "ById",
    "Written",
    "fingerprint_prefix",
    "guid_of_headers",
    "guid_prefix",
    "id_prefix",
    "shown",
    "split",
]

HEADER: Final = "__value_schema_id"
"""Confluent's header with the prefix in it, whose body has none then."""
ESCAPED = re.compile(rb"\\x([89a-f][0-9a-f])")
GLUE = (
    "it begins with 03: AWS Glue's registry wrote it, which is none of Confluent's: publish it through this registry, or "
    "consume it as bytes"
)


class ById(int):
    """The id that the registry gave the schema."""

    __slots__ = ()


class ByGuid(str):
    """The GUID of the schema's text."""

    __slots__ = ()


class ByFingerprint(bytes):
    """CRC-64-AVRO of the schema's canonical form, little-endian."""

    __slots__ = ()


Written: TypeAlias = ById | ByGuid | ByFingerprint


def shown(written: Written) -> str:
    """For people."""
    return bytes(written).hex() if isinstance(written, ByFingerprint) else str(written)


def id_prefix(schema_id: int) -> bytes:
    """`00` and the id."""
    return b"\0" + schema_id.to_bytes(4, "big")


def guid_prefix(guid: str) -> bytes:
    """`01` and the GUID. Raises `ValueError`."""
    return b"\1" + uuid.UUID(guid).bytes


def fingerprint_prefix(fingerprint: bytes) -> bytes:
    """Avro's own single-object encoding: `C3 01` and the fingerprint."""
    return b"\xc3\x01" + fingerprint


def split(body: bytes) -> tuple[Written, int]:
    """Who wrote it, and where its data begins. Raises `DecodeError`."""
    first = body[:1]
    if first == b"\0" and len(body) >= 5:
        return ById(int.from_bytes(body[1:5], "big")), 5
    if first == b"\1" and len(body) >= 17:
        return ByGuid(uuid.UUID(bytes=body[1:17])), 17
    if body[:2] == b"\xc3\x01" and len(body) >= 10:
        return ByFingerprint(body[2:10]), 10
    if first == b"\3":
        raise DecodeError(GLUE)
    if first in {b"\0", b"\1"} or body[:2] == b"\xc3\x01":
        raise DecodeError(f"{len(body)} bytes: the header that names its schema is cut off")
    raise DecodeError(
        f"no header names its schema: it begins with {body[:1].hex() or 'nothing'}, not with 00, 01 or C3 01"
    )


def guid_of_headers(headers: Mapping[str, str]) -> ByGuid | None:
    """The GUID that stands in a header: as text, or as the bytes that Confluent's clients put there. Raises `DecodeError`."""
    text = headers.get(HEADER)
    if text is None:
        return None
    raw = text.encode("utf-8", "surrogateescape")
    if len(raw) != 17:  # what was no UTF-8 came as backslashes
        raw = ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), raw)
    try:
        return ByGuid(uuid.UUID(bytes=raw[1:]) if raw[:1] == b"\1" and len(raw) == 17 else uuid.UUID(text))
    except ValueError:
        raise DecodeError(f"its header {HEADER} holds no GUID: {text[:40]!r}") from None
