"""What the registry takes, and what it keeps at hand."""

from __future__ import annotations

import msgspec

__all__ = ["LARGEST_ID", "LONGEST_NAME", "Limits"]

LARGEST_ID = 2**31 - 1
"""Ids and versions are 32-bit numbers, on the wire and in Confluent's API."""


LONGEST_NAME = 1024
"""Bytes of a name: an index of PostgreSQL takes keys of some 2,700."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes, except where the name says otherwise.

    schema: of one text. subject: of a name. versions: of one subject, softly deleted ones included. references: of one
    schema, direct and indirect. texts, parsed: caches of texts and of parsed schemas. known: each of the four caches of texts
    that were given, of texts with their references put in, of differences, and of verdicts.
    """

    schema: int = 1024 * 1024
    subject: int = LONGEST_NAME
    versions: int = 100_000
    references: int = 1000
    texts: int = 64 * 1024 * 1024
    parsed: int = 128 * 1024 * 1024
    known: int = 32 * 1024 * 1024
