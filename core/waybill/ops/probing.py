"""From what processes have written to what a probe answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from waybill.ops.state import State

__all__ = ["FRESH", "Answer", "fresh", "live", "ready"]

FRESH = 10.0
"""Seconds without a word after which a process counts as dead: it writes every second."""


class Answer(NamedTuple):
    """To a probe. why: for people, one line."""

    ok: bool
    why: str


def fresh(states: Iterable[State], now: float, patience: float = FRESH) -> list[State]:
    """Those of processes that live. now: seconds since 1970; what was written after that is from before the clock was put back."""
    return [state for state in states if abs(now - state.written) <= patience]


def live(states: Iterable[State], now: float, patience: float = FRESH) -> Answer:
    """Whether one process at least can go on: those that cannot are replaced by their supervisor, if that lives."""
    known = list(states)
    heard = fresh(known, now, patience)
    if not heard:
        return Answer(ok=False, why=_silence(known, now))
    if any(state.live for state in heard):
        return Answer(ok=True, why=_all(heard))
    return Answer(ok=False, why=_all(heard))


def ready(states: Iterable[State], now: float, patience: float = FRESH) -> Answer:
    """Whether each process that lives is ready, and there is one."""
    known = list(states)
    heard = fresh(known, now, patience)
    if not heard:
        return Answer(ok=False, why=_silence(known, now))
    return Answer(ok=all(state.ready for state in heard), why=_all(heard))


def _silence(known: list[State], now: float) -> str:
    if not known:
        return "no process has written there"
    silent = now - max(state.written for state in known)
    return f"no process has written {f'for {silent:.0f} s' if silent > 0 else 'since the clock was put back'}"


def _all(states: list[State]) -> str:
    return "; ".join(map(_one, states))


def _one(state: State) -> str:
    name = f"{state.app} {state.worker}" if state.worker else state.app
    why = f" ({', '.join(state.reasons)})" if state.reasons else ""
    return f"{name} (pid {state.pid}): {state.status.value if state.stage == 'running' else state.stage}{why}"
