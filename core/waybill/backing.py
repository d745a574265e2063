"""Copying all that a broker holds into one file, while others use it: for brokers that keep it in a file of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import msgspec

__all__ = ["Backs", "Copied", "Progress"]

Progress: TypeAlias = Callable[[float, str], None]
"""How far it is: the share that is done, from 0 to 1, and what is being done. Called on the event loop."""


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a copy."""

    messages: int
    """Those that some group has not finished with."""
    dead: int
    """Dead letters."""
    bytes: int
    """The size of the file."""


@runtime_checkable
class Backs(Protocol):
    """An adapter that can copy what its broker holds. The others have means of their own."""

    async def backup(self, path: Path, progress: Progress) -> Copied:
        """Copy everything, as it is at one moment, into the file `path`. The adapter need not be entered, and changes nothing.

        Whoever uses the broker goes on meanwhile. The file appears when it is complete, checked and on the disk, in place
        of one that may be there; cancelled or failed, it leaves nothing behind. What was handed out to somebody at that
        moment is to be handed out anew in the copy.

        Raises `ConfigurationError` for a place that cannot be meant, `BrokerError`.
        """
        ...
