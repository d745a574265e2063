"""Data to bytes and back by fastavro alone."""

from __future__ import annotations

import io
from typing import Any

import fastavro

from waybill_schema_registry.types import READING

__all__ = ["read", "written"]


def written(schema: Any, datum: Any) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), datum)
    return stream.getvalue()


def read(schema: Any, body: bytes, reader: Any = None) -> Any:
    reader = None if reader is None else fastavro.parse_schema(reader)
    return fastavro.schemaless_reader(io.BytesIO(body), fastavro.parse_schema(schema), reader, **READING)
