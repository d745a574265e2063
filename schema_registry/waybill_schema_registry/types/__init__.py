"""Python types to Avro, and Avro to Python types.

placed = avro_type(OrderPlaced)
placed.schema               the Avro schema, as a JSON value
placed.to_datum(order)      what fastavro's writer takes for that schema
placed.from_datum(datum)    what fastavro's reader gives, as an OrderPlaced again

generate(schema)            the source of pydantic models that have this schema
"""

from __future__ import annotations

from waybill_schema_registry.types.avro_type import READING, AvroType, avro_schema, avro_type
from waybill_schema_registry.types.marks import (
    Aliases,
    Default,
    Fixed,
    Float32,
    Int32,
    Logical,
    Millis,
    Named,
    Precision,
)
from waybill_schema_registry.types.refusal import NoCounterpart
from waybill_schema_registry.types.source import generate

__all__ = [
    "READING",
    "Aliases",
    "AvroType",
    "Default",
    "Fixed",
    "Float32",
    "Int32",
    "Logical",
    "Millis",
    "Named",
    "NoCounterpart",
    "Precision",
    "avro_schema",
    "avro_type",
    "generate",
]
