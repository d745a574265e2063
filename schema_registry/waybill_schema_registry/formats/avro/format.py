"""Avro as a format of the registry."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from waybill_schema_registry.entities import AVRO
from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro.bounds import Bounds, traps
from waybill_schema_registry.formats.avro.differences import differences_of
from waybill_schema_registry.formats.avro.memo import Memo
from waybill_schema_registry.formats.avro.normal import normal_of
from waybill_schema_registry.formats.avro.parsed import AvroSchema
from waybill_schema_registry.formats.avro.parsing import parse_text
from waybill_schema_registry.formats.avro.schema import Record
from waybill_schema_registry.formats.avro.text import text_of
from waybill_schema_registry.formats.format import Counterexample, Difference, Parsed

if TYPE_CHECKING:
    from waybill_schema_registry.formats.format import Format

__all__ = ["AvroFormat"]

NO_REFERENCES: Mapping[str, str] = {}


def verdicts() -> Memo[tuple[int, int], tuple[Difference, ...]]:
    """Room for 100,000 that are good, fewer of those that are not."""
    return Memo(100_000)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AvroFormat:
    """bounds: what a new schema may be at most. Verdicts are kept for pairs that were compared, as far as there is room."""

    bounds: Bounds = field(default_factory=Bounds)
    verdicts: Memo[tuple[int, int], tuple[Difference, ...]] = field(default_factory=verdicts, init=False, repr=False)

    @property
    def name(self) -> str:
        return AVRO

    def parse(self, text: str, references: Mapping[str, str] = NO_REFERENCES, *, strict: bool = True) -> AvroSchema:
        """As `Format.parse`. strict: refuses also what is larger than the bounds, and what is a trap for decoders."""
        if strict and len(text) > self.bounds.size:
            raise InvalidSchema(
                f"The schema has {len(text):,} characters, and {self.bounds.size:,} are allowed: split it"
            )
        schema = parse_text(text, references, strict=strict)
        if strict and (found := traps(schema.root, self.bounds)):
            raise InvalidSchema(f"The schema is a trap for those who decode: it has {'; and '.join(found[:5])}")
        return schema

    def normalized(self, parsed: Parsed) -> str:
        schema = avro(parsed)
        return normal_of(schema.root, schema.outside)

    def resolved(self, parsed: Parsed) -> str:
        return text_of(avro(parsed).root)

    def fields(self, parsed: Parsed) -> Collection[str]:
        """The names of the fields at the top; none of what is no record."""
        root = avro(parsed).root
        return root.by_name.keys() if isinstance(root, Record) else ()

    def differences(self, reader: Parsed, writer: Parsed) -> tuple[Difference, ...]:
        one, other = avro(reader), avro(writer)
        pair = (one.serial, other.serial)
        known = self.verdicts.get(pair)
        if known is None:
            found = differences_of(one.root, other.root)
            known = self.verdicts.keep(pair, found, 1 + 10 * len(found))
        return known

    def counterexample(self, reader: Parsed, writer: Parsed, found: Sequence[Difference]) -> Counterexample | None:
        from waybill_schema_registry.formats.avro.counterexample import counterexample  # noqa: PLC0415 - needs fastavro

        return counterexample(avro(reader), avro(writer), found)


def avro(parsed: Parsed) -> AvroSchema:
    if not isinstance(parsed, AvroSchema):
        raise TypeError(f"{parsed!r} was not parsed by the Avro format")
    return parsed


if TYPE_CHECKING:
    _: Format = AvroFormat()
