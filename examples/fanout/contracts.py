"""What travels: one topic, and the three groups that get every message of it, by contract.

A publisher declares the groups too, so that an order that is placed before a service has ever run is kept for it.
"""

from dataclasses import dataclass

from waybill import Topic

__all__ = ["OrderPlaced", "orders"]


@dataclass(frozen=True, slots=True)
class OrderPlaced:
    order_id: str
    email: str
    article: str
    cents: int


orders = Topic("orders.placed", OrderPlaced, groups=["billing", "search", "mail"])
