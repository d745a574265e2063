"""What operators order of circuits, done in this process."""

from __future__ import annotations

import logging
import time

from waybill.app import App
from waybill.errors import shown
from waybill.ops.folder import Folder, Order

__all__ = ["Obeying"]

log = logging.getLogger("waybill.ops")


class Obeying:
    """Does with an application's circuits what is ordered of them, once for each order.

    folder: where orders are for all processes; without, each process has its own. A circuit that the application's own
    code has opened or closed is let alone until an order comes for it.
    """

    def __init__(self, app: App, folder: Folder | None = None) -> None:
        self._app = app
        self._folder = folder
        self._done: dict[str, Order] = {}
        self._began = time.time()

    def look(self) -> None:
        """Do what is ordered in the folder and not done yet. Raises `OSError` where that cannot be read."""
        if self._folder is None or not self._app.breakers:
            return
        for name, order in self._folder.orders().items():
            done = self._done.get(name)
            over = done is None and order.to == "auto" and order.at < self._began  # what it ends was never done here
            if name in self._app.breakers and done != order and not over:
                self._do(order)

    def order(self, order: Order) -> None:
        """Do it now, once it stands in the folder. Raises `OSError`, and `KeyError` where there is no such circuit."""
        if self._folder is not None:
            self._folder.give(order)
        self._do(order)

    def _do(self, order: Order) -> None:
        breaker = self._app.breakers[order.circuit]
        self._done[order.circuit] = order
        why = f"{shown(order.reason, 500) or 'no reason given'} (by {shown(order.by) or 'somebody'})"
        log.warning("circuit %s: ordered %s: %s", order.circuit, order.to, why)
        if order.to == "open":
            breaker.open(why)
        elif order.to == "close":
            breaker.close()
        else:
            breaker.auto()
