"""What travels: one topic, and the three groups that get every message of it, by contract.

A publisher declares the groups too, so that an order that is completed before a service has ever run is kept for it.
"""

from dataclasses import dataclass

from waybill import Topic

__all__ = ["OrderCompleted", "orders"]


@dataclass(frozen=True, slots=True)
class OrderCompleted:
    order_id: str
    email: str
    phone: str
    article: str


orders = Topic("orders.completed", OrderCompleted, groups=["email", "push", "sms"])
