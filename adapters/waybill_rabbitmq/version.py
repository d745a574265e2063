"""Which versions of the broker will do."""

from __future__ import annotations

from waybill.errors import CapabilityError

__all__ = ["check_version", "hands_over"]

LEAST = (4, 0)
"""The first version whose quorum queues order single active consumers by priority."""

GHOSTS = (4, 3)
"""Seen on 4.3.6, with quorum queues that have a single active consumer: one that is being replaced by another of a higher priority
when its channel dies stays for ever, is made active again later, and holds what the queue delivers to it."""


def hands_over(text: str) -> bool:
    """Whether a partition may be taken from a member that is alive. Without that, who comes first keeps it until it goes."""
    return _numbers(text) < GHOSTS


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(".")[:2])
    except ValueError:
        return LEAST  # somebody's own build: let it show


def check_version(text: str) -> None:
    """Raises `CapabilityError` for a broker that is too old."""
    if _numbers(text) < LEAST:
        raise CapabilityError(
            f"this is RabbitMQ {text}, and Waybill needs 4.0: before that, quorum queues know no priorities of single "
            f"active consumers, and a group's order could not be spread over its members. Upgrade the broker"
        )
