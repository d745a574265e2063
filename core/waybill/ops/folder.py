"""The folder that the processes of one application share with their operators.

    HOST-PID.json          what a process says of itself: written anew every second, removed when it ends in order
    circuits/NAME.json     what an operator has ordered last of a circuit: stands also for processes that start later

Each file is replaced as a whole: whoever reads one finds the old or the new, never a part.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar
from urllib.parse import quote

import msgspec

from waybill.ops.state import State

__all__ = ["FORGOTTEN", "Folder", "Order", "Wanted"]

FORGOTTEN = 60.0
"""Seconds after which what a process has left behind that was killed is removed by the next that starts."""


S = TypeVar("S", bound=msgspec.Struct)
Wanted: TypeAlias = Literal["open", "close", "auto"]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a circuit is to be. auto: whatever it is by itself. at: seconds since 1970."""

    circuit: str
    to: Wanted
    reason: str = ""
    by: str = ""
    at: float = 0.0


class Folder:
    """At `path`, which is made when something is written. Everything raises `OSError` where the folder cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._orders = path / "circuits"

    # ---------------------------------------------------------------- processes

    def write(self, state: State) -> None:
        """In the place of what this process wrote before."""
        _replace(self.place(state), msgspec.json.encode(state))

    def remove(self, state: State) -> None:
        """It has ended."""
        self.place(state).unlink(missing_ok=True)

    def states(self) -> list[State]:
        """What processes have said, also those that say nothing any more. Files that are something else are passed over."""
        found = (_read(file, State) for file in self.path.glob("*.json"))
        return sorted(filter(None, found), key=lambda state: (state.app, state.worker, state.host, state.pid))

    def tidy(self) -> None:
        """Remove what processes have left behind that were killed."""
        for state in self.states():
            if abs(time.time() - state.written) > FORGOTTEN:
                self.remove(state)

    def place(self, state: State) -> Path:
        """The file of a process."""
        return self.path / f"{state.host}-{state.pid}.json"

    # ---------------------------------------------------------------- circuits

    def give(self, order: Order) -> None:
        """Every process follows it within a second or two, and those that start later."""
        _replace(self._orders / f"{quote(order.circuit, safe='')}.json", msgspec.json.encode(order))

    def orders(self) -> Mapping[str, Order]:
        """The last of each circuit, by its name."""
        found: dict[str, Order] = {}
        for file in self._orders.glob("*.json"):
            if order := _read(file, Order):
                found[order.circuit] = order
        return found


def _read(path: Path, sort: type[S]) -> S | None:
    """`None` where it is gone or is something else. Raises `OSError`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=sort)
    except (FileNotFoundError, ValueError, RecursionError):  # msgspec raises more than its own
        return None


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_bytes(data)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
