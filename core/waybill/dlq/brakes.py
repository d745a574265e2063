"""Why nothing should be sent back just now, as the processes tell that would have to handle it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from waybill.ops.circuits import by_group
from waybill.ops.folder import Folder
from waybill.ops.probing import fresh

if TYPE_CHECKING:
    from waybill.dlq.running import Brake

__all__ = ["circuits"]

PASSES = frozenset({"closed", "forced-closed", "half-open"})
"""Half open, the group takes one message to find out how it goes; where nothing else comes, that is one of the letters."""


def circuits(folder: str | Path, group: str) -> Brake:
    """While a circuit that `group` (`topic/group`) waits for is open, says one of its processes. folder: where these
    write how they are (the setting `status_dir`); one that cannot be read says nothing."""

    def look() -> str | None:
        try:
            states = fresh(Folder(Path(folder)).states(), time.time())
        except OSError:
            return None
        known = by_group(states).get(group, {})
        shut = [f"the circuit {name} is {state}" for name, state in known.items() if state not in PASSES]
        return "; ".join(shut) or None

    async def brake() -> str | None:
        return await asyncio.to_thread(look)

    return brake
