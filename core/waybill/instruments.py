"""What sees and accompanies an application's messages without deciding anything: traces, metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waybill.adapter import Adapter
from waybill.middleware import BatchMiddleware, Middleware, SendMiddleware
from waybill.observing import Handled
from waybill.topology import Subscription

if TYPE_CHECKING:
    from waybill.app import App
    from waybill.settings import Settings

__all__ = ["Instrument"]


class Instrument:
    """The base of all: each method may be left as it is, and then costs nothing.

    `App(…, instruments=[…])` calls them in the order given; the first is outermost. One instrument serves one application.
    """

    def configured(self, settings: Settings) -> None:
        """The application begins, with these settings. Called before all else."""

    def around(self, adapter: Adapter) -> Adapter:
        """The adapter that is used instead, one that does what `adapter` does: sees what is sent, received and settled."""
        return adapter

    def middleware(self, subscription: Subscription) -> Middleware | None:
        """What goes around the handler of one subscription, outside of the application's own middleware."""
        del subscription
        return None

    def batch_middleware(self, subscription: Subscription) -> BatchMiddleware | None:
        """The same around a handler of batches."""
        del subscription
        return None

    def send_middleware(self) -> SendMiddleware | None:
        """What goes around each publish, outside of the application's own."""
        return None

    @property
    def on_handled(self) -> bool:
        """Whether `handled` is to be called, which costs a moment for each message."""
        return False

    def handled(self, handled: Handled) -> None:
        """One handling has ended, and the broker has answered. As an observer (`App.observe`)."""

    def started(self, app: App) -> None:
        """The application is connected and consumes; everything it has declared is known."""

    def stopped(self) -> None:
        """It has ended."""
