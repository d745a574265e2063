"""What travels, and the group that keeps the read model."""

from dataclasses import dataclass

from waybill import Topic

__all__ = ["OrderPlaced", "orders"]


@dataclass(frozen=True, slots=True)
class OrderPlaced:
    """The client names its order, so that it may send it again when it does not know what became of it."""

    order_id: str
    customer_id: str
    cents: int


orders = Topic("orders.placed", OrderPlaced, key=lambda order: order.customer_id, groups=["totals"])
