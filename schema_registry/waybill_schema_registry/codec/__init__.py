"""The codec for topics: Avro bodies with the id of their schema before them.

orders = Topic("orders.placed", OrderPlaced, codec=Avro("http://registry:8081"))
"""

from __future__ import annotations

from waybill_schema_registry.codec.avro import Avro, AvroCodec
from waybill_schema_registry.codec.limits import Limits
from waybill_schema_registry.codec.plain import decode, encode
from waybill_schema_registry.codec.subjects import record_subject, topic_record_subject, topic_subject

__all__ = [
    "Avro",
    "AvroCodec",
    "Limits",
    "decode",
    "encode",
    "record_subject",
    "topic_record_subject",
    "topic_subject",
]
