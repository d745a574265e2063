"""What an application promises about a subject: its schema, and where that is written down."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from waybill.errors import ConfigurationError
from waybill_schema_registry.compatibility import AVRO
from waybill_schema_registry.entities import Reference, Schema
from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro.parsed import AvroSchema

__all__ = ["Contract", "Source", "by_subject"]


class Source(msgspec.Struct, frozen=True):
    """Where a contract stands. file: as a path from the working directory. line: of its beginning, from 1. what: for people."""

    what: str
    file: str = ""
    line: int = 1

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file else ""
        return ", ".join(part for part in (place, self.what) if part)


class Contract(msgspec.Struct, frozen=True):
    """text: the schema as it is registered. references: the types of other contracts that it uses. types: the texts of
    these, by their names, those that others need first."""

    subject: str
    text: str
    source: Source
    references: tuple[Reference, ...] = ()
    types: dict[str, str] = {}

    @property
    def schema(self) -> Schema:
        return Schema(text=self.text, references=self.references)

    def understood(self) -> AvroSchema:
        """As a registry would take it: strictly. Raises `InvalidSchema`, naming the source."""
        try:
            return AVRO.parse(self.text, self.types)
        except InvalidSchema as error:
            raise InvalidSchema(f"{self.source} ({self.subject}): {error}") from error


def by_subject(contracts: Iterable[Contract]) -> dict[str, Contract]:
    """Raises `ConfigurationError` where two contracts that differ claim one subject."""
    found: dict[str, Contract] = {}
    for contract in contracts:
        other = found.setdefault(contract.subject, contract)
        if other.text != contract.text:
            raise ConfigurationError(
                f"two contracts have the subject {contract.subject}, and different schemas: {other.source} and "
                f"{contract.source}. Give one of them another subject"
            )
    return found
