"""Which versions of the broker will do."""

from __future__ import annotations

from waybill.errors import CapabilityError

__all__ = ["check_version"]

LEAST = (4, 0)
"""The first version whose quorum queues order single active consumers by priority."""


def check_version(text: str) -> None:
    """Raises `CapabilityError` for a broker that is too old."""
    try:
        numbers = tuple(int(part) for part in text.split(".")[:2])
    except ValueError:
        return  # somebody's own build: let it show
    if numbers < LEAST:
        raise CapabilityError(
            f"this is RabbitMQ {text}, and Waybill needs 4.0: before that, quorum queues know no priorities of single "
            f"active consumers, and a group's order could not be spread over its members. Upgrade the broker"
        )
