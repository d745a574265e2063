"""Waybill: typed asynchronous messaging. One interface; configuration decides which broker carries it.

    from dataclasses import dataclass
    from waybill import App, Topic

    @dataclass
    class OrderPlaced:
        order_id: str
        customer_id: str

    orders = Topic("orders.placed", OrderPlaced, key=lambda order: order.customer_id)
    app = App("billing")

    @app.consume(orders, ordered=True)
    async def charge(order: OrderPlaced) -> None:
        print("charging", order.order_id)

Names that start with a capital are for services; `waybill.adapter` is for those who write an adapter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waybill.app import App
from waybill.errors import (
    AdapterNotFound,
    BrokerError,
    BrokerFileError,
    BrokerUnavailable,
    CapabilityError,
    ClosedError,
    CodecError,
    CodecUnavailable,
    ConfigurationError,
    DecodeError,
    DestinationMissing,
    EncodeError,
    HandlerTimeout,
    ItemsFailed,
    LeaseLost,
    PublishError,
    PublishRefused,
    PublishUnknown,
    Reject,
    RetryAfter,
    TopologyMismatch,
    WaybillError,
)
from waybill.gates import Bulkhead, CircuitBreaker, RateLimit, RetryBudget
from waybill.health import Health, Status
from waybill.history import Stretch
from waybill.message import DeadLetterRecord, Delivery, Message, Outgoing, Tombstone
from waybill.middleware import BatchHandler, BatchMiddleware, Handler, Middleware, Send, SendMiddleware
from waybill.observing import Handled
from waybill.options import Batch
from waybill.outcomes import Confirmed, Refused, SendResult, Unknown
from waybill.replaying import Replayed
from waybill.retry import Retry
from waybill.topic import Topic, TopicPattern
from waybill.topology import BrokerOptions

if TYPE_CHECKING:
    from waybill.settings import Settings

__all__ = [
    "AdapterNotFound",
    "App",
    "Batch",
    "BatchHandler",
    "BatchMiddleware",
    "BrokerError",
    "BrokerFileError",
    "BrokerOptions",
    "BrokerUnavailable",
    "Bulkhead",
    "CapabilityError",
    "CircuitBreaker",
    "ClosedError",
    "CodecError",
    "CodecUnavailable",
    "ConfigurationError",
    "Confirmed",
    "DeadLetterRecord",
    "DecodeError",
    "Delivery",
    "DestinationMissing",
    "EncodeError",
    "Handled",
    "Handler",
    "HandlerTimeout",
    "Health",
    "ItemsFailed",
    "LeaseLost",
    "Message",
    "Middleware",
    "Outgoing",
    "PublishError",
    "PublishRefused",
    "PublishUnknown",
    "RateLimit",
    "Refused",
    "Reject",
    "Replayed",
    "Retry",
    "RetryAfter",
    "RetryBudget",
    "Send",
    "SendMiddleware",
    "SendResult",
    "Settings",
    "Status",
    "Stretch",
    "Tombstone",
    "Topic",
    "TopicPattern",
    "TopologyMismatch",
    "Unknown",
    "WaybillError",
]


def __getattr__(name: str) -> Any:
    if name == "Settings":  # pydantic-settings takes longer to import than all of this package
        from waybill.settings import Settings  # noqa: PLC0415

        return Settings
    raise AttributeError(f"module 'waybill' has no attribute {name!r}")
