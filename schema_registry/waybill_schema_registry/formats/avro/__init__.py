"""Avro: parsing, texts, fingerprints, resolution."""

from waybill_schema_registry.formats.avro.bounds import Bounds, traps
from waybill_schema_registry.formats.avro.format import AvroFormat
from waybill_schema_registry.formats.avro.parsed import AvroSchema
from waybill_schema_registry.formats.avro.parsing import parse

__all__ = ["AvroFormat", "AvroSchema", "Bounds", "parse", "traps"]
