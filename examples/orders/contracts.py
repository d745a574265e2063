"""What travels: one topic and its type. One group shares it, so it is a work queue."""

import os
from dataclasses import dataclass

from waybill import Topic

__all__ = ["OrderPlaced", "orders"]


@dataclass(frozen=True, slots=True)
class OrderPlaced:
    """A customer has ordered, and is to be charged through the customer's bank."""

    order_id: str
    bank: str
    cents: int


codec = None
"""JSON, and Avro where a schema registry is named."""
if registry := os.environ.get("ORDERS_REGISTRY"):
    from waybill_schema_registry.codec import Avro

    codec = Avro(registry)

orders = Topic("orders.placed", OrderPlaced, groups=["billing"], codec=codec)
