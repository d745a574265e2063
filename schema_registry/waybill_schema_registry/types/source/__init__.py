"""Avro schemas as the source of pydantic models."""

from __future__ import annotations

from waybill_schema_registry.types.source.module import generate

__all__ = ["generate"]
