"""The states as the tables hold them. Their numbers are in files: a new one goes to the end, and the open ones are 0 to 3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from waybill.dlq.model import State

__all__ = ["DONE_WITH", "NUMBER", "STATES", "numbers"]

STATES: Mapping[int, State] = MappingProxyType(
    {
        0: State.UNRESOLVED,
        1: State.TRIAGED,
        2: State.REDRIVING,
        3: State.PENDING,
        4: State.RESOLVED,
        5: State.DISCARDED,
        6: State.ARCHIVED,
    }
)
NUMBER: Mapping[State, int] = MappingProxyType({state: number for number, state in STATES.items()})

DONE_WITH = (State.RESOLVED, State.DISCARDED, State.ARCHIVED)


def numbers(states: Iterable[State]) -> str:
    """For `IN (…)`; all of them where none is named."""
    return ",".join(str(NUMBER[state]) for state in states) or ",".join(map(str, NUMBER.values()))
