"""One fault: a function that shows what must survive it, by its row in the table, at the size that a run has."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence

from waybill_contracts.behaviour import Behaviour, Check, registering

__all__ = ["FAULTS", "NOT_YET", "ROUNDS", "SEED", "SOAK", "fault", "lasting"]

SOAK = os.environ.get("FAULT_SOAK", "0") != "0"
"""Whether faults last as long as in the table, and come as often."""
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "0")) or (50 if SOAK else 3)
SEED = int(os.environ.get("FAULT_SEED", "0")) or random.randrange(1, 1 << 30)
"""Printed by each fault; the same seed chooses the same victims, pauses and sizes again."""

FAULTS: dict[str, Behaviour] = {}
"""All rows, by id: `fault-01` …"""

NOT_YET = {
    "fault-32": "a store of ids that is down",
    "fault-33": "a claim on an id that runs out while its handler runs",
    "fault-34": "an outbox relay that is killed between publishing and marking",
}
"""Rows that wait for a feature."""


def lasting(table: float, quick: float) -> float:
    """Seconds: as in the table, or shorter in a quick run."""
    return table if SOAK else quick


def fault(
    row: int, *, needs: Sequence[str] = (), verbs: Sequence[str] = (), seconds: float = 2.0, soak: float = 0.0
) -> Callable[[Check], Check]:
    """Make row `row` of a function, which is named for what survives; its docstring is the invariant.

    needs, verbs: as of `behaviour`. seconds, soak: the real time it takes in a quick run, and in a long one, about.
    """
    return registering(FAULTS, f"fault-{row:02}", needs, verbs, max(seconds, soak) if SOAK else seconds)
