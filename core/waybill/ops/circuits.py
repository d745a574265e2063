"""The circuits of several processes, put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from waybill.ops.state import Circuit, State

__all__ = ["by_group", "summed"]

WORST = ("forced-open", "open", "half-open", "forced-closed", "closed")


def summed(states: Iterable[State]) -> Mapping[str, Sequence[tuple[State, Circuit]]]:
    """The circuits by name, each as the processes have it."""
    found: dict[str, list[tuple[State, Circuit]]] = {}
    for state in states:
        for circuit in state.circuits:
            found.setdefault(circuit.name, []).append((state, circuit))
    return dict(sorted(found.items()))


def by_group(states: Iterable[State]) -> Mapping[str, Mapping[str, str]]:
    """Of each subscription (`topic/group`) the circuits that it waits for, and how they are: as the process has them that
    lets the least through."""
    found: dict[str, dict[str, str]] = {}
    for name, held in summed(states).items():
        for _, circuit in held:
            for group in circuit.groups:
                known = found.setdefault(group, {})
                known[name] = min(known.get(name, circuit.state), circuit.state, key=WORST.index)
    return found
