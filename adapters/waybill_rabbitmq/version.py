"""Which versions of the broker will do."""

from __future__ import annotations

from waybill.errors import CapabilityError

__all__ = ["check_version"]

LEAST = (4, 0)
"""The first version on which the promises are shown. Before it, quorum queues count and return what is given back otherwise."""


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(".")[:2])
    except ValueError:
        return LEAST  # somebody's own build: let it show


def check_version(text: str) -> None:
    """Raises `CapabilityError` for a broker that is too old."""
    if _numbers(text) < LEAST:
        raise CapabilityError(
            f"this is RabbitMQ {text}, and Waybill needs 4.0: before that, quorum queues neither count nor return messages as its "
            f"promises of order and of attempts need it. Upgrade the broker"
        )
