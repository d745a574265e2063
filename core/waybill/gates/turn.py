"""What a single delivery may have to wait for, while others of its subscription start."""

from __future__ import annotations

from typing import Any, Protocol

from waybill.message import Delivery

__all__ = ["Turn"]


class Turn(Protocol):
    """Asked when a delivery is the next to start. On one event loop; nothing here waits or raises."""

    def wait(self, delivery: Delivery[Any], now: float) -> float:
        """Seconds after which to ask for it again; 0: it may start. `now`: `time.monotonic()`."""
        ...

    def left(self, delivery: Delivery[Any]) -> float:
        """Seconds after which it is asked for again at the latest, however often it was put off; `inf`: there is no hurry."""
        ...

    def take(self, delivery: Delivery[Any], now: float) -> None:
        """It starts, right after `wait` has said 0."""
        ...
