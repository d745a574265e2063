"""A schema with all that is asked of it more than once."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Final

from waybill_schema_registry.formats.avro.canonical import canonical_of
from waybill_schema_registry.formats.avro.fingerprints import crc64
from waybill_schema_registry.formats.avro.schema import Named, Node
from waybill_schema_registry.formats.avro.text import text_of

__all__ = ["AvroSchema"]

SERIAL: Final = count()


class AvroSchema:
    """What `parse` returns. root: the schema itself. references: the roots of the texts it refers to, by the name given.

    serial: no two have had the same one in this process.
    """

    __slots__ = ("__weakref__", "_canonical", "_fingerprint", "_text", "references", "root", "serial")

    def __init__(self, root: Node, references: Mapping[str, Node]) -> None:
        self.root: Final = root
        self.references: Final = references
        self.serial: Final = next(SERIAL)
        self._text: str | None = None
        self._canonical: str | None = None
        self._fingerprint: int | None = None

    @property
    def outside(self) -> list[str]:
        """The names of types that other texts define: the root of each."""
        return [root.fullname for root in self.references.values() if isinstance(root, Named)]

    @property
    def text(self) -> str:
        """As Avro Java's `Schema.toString()` writes it; what other texts define stays a name."""
        if self._text is None:
            self._text = text_of(self.root, self.outside)
        return self._text

    @property
    def canonical(self) -> str:
        """The parsing canonical form (Avro 1.12, §Parsing Canonical Form for Schemas)."""
        if self._canonical is None:
            self._canonical = canonical_of(self.root)
        return self._canonical

    @property
    def fingerprint(self) -> int:
        """CRC-64-AVRO of the canonical form: what single-object headers have, little-endian."""
        if self._fingerprint is None:
            self._fingerprint = crc64(self.canonical)
        return self._fingerprint

    def __repr__(self) -> str:
        return f"<AvroSchema {self.root!r}>"
