"""One promise: a function that shows it on a bench, and what it needs to be shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from waybill.adapter import Capabilities
from waybill_contracts.harness import VERBS

if TYPE_CHECKING:
    from waybill_contracts.bench import Bench

__all__ = ["BEHAVIOURS", "NEEDS", "NOT_YET", "Behaviour", "Check", "behaviour", "registering"]

Check: TypeAlias = Callable[["Bench"], Awaitable[None]]
"""Shows the promise, or raises."""

NEEDS: dict[str, Callable[[Capabilities], bool]] = {
    "ordered": lambda can: can.ordered,
    "relaxes": lambda can: can.ordered and can.relaxes,
    "durable": lambda can: can.durable,
    "patterns": lambda can: can.patterns,
    "ephemeral": lambda can: can.ephemeral,
    "history": lambda can: can.history,
    "replays": lambda can: can.replays,
    "limits_length": lambda can: can.limits_length,
    "dedup": lambda can: can.dedup_window is None or can.dedup_window > 0,
    "delays": lambda can: can.delays,
}
"""What a broker may lack: then the behaviour is to be refused when the application starts, and that is what is shown."""

BEHAVIOURS: dict[str, Behaviour] = {}
"""All promises, by id."""

NOT_YET = {
    "P08": "large bodies by reference",
    "S04": "cancelling a scheduled message",
    "S06": "priorities",
    "S07": "priorities without starving",
    "C07": "rotated credentials",
    "I01": "publishing with the handling",
    "I02": "isolated publishing",
    "I03": "outbox",
    "I04": "inbox",
    "I05": "a store that is down",
    "Q01": "request and reply",
    "Q02": "late replies",
}
"""Promises that wait for a feature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """One promise. `seconds`: the real time that showing it takes, about, most of it waiting."""

    id: str
    name: str
    check: Check
    needs: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    seconds: float = 1.0

    @property
    def limit(self) -> float:
        """Seconds after which it counts as broken."""
        return 120.0 + 4 * self.seconds


def behaviour(
    ident: str, *, needs: Sequence[str] = (), verbs: Sequence[str] = (), seconds: float = 1.0
) -> Callable[[Check], Check]:
    """Make the promise `ident` of a function, which is named for what it promises.

    needs: of the broker (`NEEDS`); where it lacks one, the same function must be refused with a `CapabilityError`.
    verbs: of the harness (`VERBS`); where it cannot, the behaviour is waived with the harness's reason.
    """
    return registering(BEHAVIOURS, ident, needs, verbs, seconds)


def registering(
    known: dict[str, Behaviour], ident: str, needs: Sequence[str], verbs: Sequence[str], seconds: float
) -> Callable[[Check], Check]:
    """Put what is made of a function among those that are `known`."""
    assert not set(needs) - set(NEEDS)
    assert not set(verbs) - set(VERBS)

    def register(check: Check) -> Check:
        assert ident not in known, ident
        known[ident] = Behaviour(
            id=ident, name=check.__name__, check=check, needs=tuple(needs), verbs=tuple(verbs), seconds=seconds
        )
        return check

    return register
