"""The states of a circuit breaker, and what moves it from one to the next. Pure: it is told the time, and waits for nothing.

    closed ── so many have failed ──▶ open ── it has waited ──▶ half-open ── the probes passed ──▶ closed
                                       ▲                            │
                                       └────── a probe failed ──────┘
    open, half-open ── nobody uses it any more ──▶ closed
    any ── open() ──▶ forced-open ── auto() ──▶ half-open        any ── close() ──▶ forced-closed ── auto() ──▶ closed

What began before the state changed says nothing about the time since: it is too late to move it on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from math import ceil, inf
from typing import Literal, TypeAlias

from waybill.errors import ConfigurationError
from waybill.retry import seconds

__all__ = ["LETS_THROUGH", "STATES", "Circuit", "Recent", "Rules", "State"]

State: TypeAlias = Literal["closed", "open", "half-open", "forced-open", "forced-closed"]
Event: TypeAlias = Literal["tripped", "waited", "failed", "passed", "left"]

STATES: tuple[State, ...] = ("closed", "open", "half-open", "forced-open", "forced-closed")

NEXT: Mapping[tuple[State, Event], State] = {
    ("closed", "tripped"): "open",
    ("open", "waited"): "half-open",
    ("half-open", "failed"): "open",
    ("half-open", "passed"): "closed",
    ("open", "left"): "closed",
    ("half-open", "left"): "closed",
}
"""All that happens by itself."""
AUTO: Mapping[State, State] = {"forced-open": "half-open", "forced-closed": "closed"}
"""Where it goes on when nobody forces it any more."""
LETS_THROUGH = frozenset[State]({"closed", "forced-closed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When it opens, and for how long. `CircuitBreaker` says what each means."""

    failures: float = 0.5
    calls: int = 20
    window: float | timedelta | None = 10.0
    slow: float | timedelta | None = None
    slow_share: float = 0.5
    open_for: float | timedelta = 5.0
    cap: float | timedelta = 30.0
    probes: int = 1

    def __post_init__(self) -> None:
        for what, share in (("failures", self.failures), ("slow_share", self.slow_share)):
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
                raise ConfigurationError(
                    f"CircuitBreaker: {what}={share!r}: a share of the calls, above 0 and at most 1"
                )
        for what, number in (("calls", self.calls), ("probes", self.probes)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ConfigurationError(f"CircuitBreaker: {what}={number!r}: at least 1")
        for what, time in (
            ("window", self.window),
            ("slow", self.slow),
            ("open_for", self.open_for),
            ("cap", self.cap),
        ):
            if time is not None and not seconds(time, f"CircuitBreaker: {what}") > 0:
                raise ConfigurationError(f"CircuitBreaker: {what}={time!r}: more than 0 seconds")
        if seconds(self.cap, "cap") < seconds(self.open_for, "open_for"):
            raise ConfigurationError(f"CircuitBreaker: cap={self.cap!r} is less than open_for={self.open_for!r}")


class Recent:
    """How many of the last `calls` handlings were of one kind, none of them longer ago than `window` seconds."""

    __slots__ = ("_calls", "_kept", "_most", "_window")

    def __init__(self, share: float, calls: int, window: float) -> None:
        """`share`: of the calls; with so many of the kind it is too many."""
        self._most = max(1, ceil(share * calls - 1e-9))  # 0.1 * 30 is 3.0000000000000004
        self._calls = calls
        self._window = window
        self._kept: deque[tuple[int, float]] = deque()
        """Those of the kind: which handling it was, and when."""

    def note(self, call: int, now: float) -> bool:
        """The handling of this number was of the kind. Whether there are too many now."""
        kept = self._kept
        kept.append((call, now))
        while not self._counts(*kept[0], call, now):
            kept.popleft()
        return len(kept) >= self._most

    def found(self, call: int, now: float) -> int:
        """How many there are, when the last handling had this number. May be asked in any thread: it changes nothing."""
        return sum(self._counts(*one, call, now) for one in tuple(self._kept))

    def _counts(self, number: int, at: float, call: int, now: float) -> bool:
        return number > call - self._calls and at >= now - self._window

    def clear(self) -> None:
        self._kept.clear()


class Circuit:
    """One breaker's state. All times are those of one clock that never goes back."""

    def __init__(self, rules: Rules) -> None:
        self._open_for = seconds(rules.open_for, "open_for")
        self._cap = seconds(rules.cap, "cap")
        self._probes = rules.probes
        window = inf if rules.window is None else seconds(rules.window, "window")
        self.failing = Recent(rules.failures, rules.calls, window)
        self.slowing = Recent(rules.slow_share, rules.calls, window)
        self._calls = rules.calls
        self.calls = 0
        """Handlings that said something since it closed."""
        self.state: State = "closed"
        self.lets_through = True
        """Whether handlings start as if there were no breaker."""
        self.changed = -inf
        """When it came to its state."""
        self.until = inf
        """When an open one lets a probe through."""
        self.well_since = -inf
        """When it let everything through again after it had not. What had begun before met what was wrong."""
        self.shut_since = inf
        """When it ceased to let everything through."""
        self.moves: dict[State, int] = dict.fromkeys(STATES, 0)
        """How many times it came to each state."""
        self.in_vain = 0
        """Probes that have failed in a row."""
        self._probing = self._passed = 0

    @property
    def seen(self) -> int:
        """Of how many handlings it knows now."""
        return min(self.calls, self._calls)

    @property
    def room(self) -> int:
        """How many probes may start now."""
        return max(0, self._probes - self._probing - self._passed) if self.state == "half-open" else 0

    @property
    def probing(self) -> int:
        """How many probes are under way."""
        return self._probing

    def is_late(self, began: float) -> bool:
        """Whether what began then met what was wrong before it closed."""
        return began < self.well_since

    def is_probe(self, began: float) -> bool:
        """Whether what began then did so since it ceased to let everything through."""
        return began >= self.shut_since

    def start(self) -> None:
        """A handling starts."""
        if self.state == "half-open":
            self._probing += 1

    def end(self, now: float, began: float, *, failed: bool | None, slow: bool = False, pause: float = 0.0) -> bool:
        """A handling has ended. Whether the state is another one now.

        `failed`: `None` says nothing about the dependency. `pause`: for so long the dependency asked to be left alone.
        """
        if self.state == "open" and failed:
            self.until = max(self.until, now + pause)
        if began < self.changed:
            return False
        if self.state == "half-open":
            return self._probed(now, failed=failed, slow=slow, pause=pause)
        if failed is None or not self.lets_through:
            return False
        self.calls += 1
        too_many = failed and self.failing.note(self.calls, now)
        too_slow = slow and self.slowing.note(self.calls, now)
        return (too_many or too_slow) and self._move(now, "tripped", pause)

    def _probed(self, now: float, *, failed: bool | None, slow: bool, pause: float) -> bool:
        self._probing -= 1
        if failed is None:
            return False
        if failed or slow:
            self.in_vain += 1
            return self._move(now, "failed", pause)
        self._passed += 1
        return self._passed == self._probes and self._move(now, "passed")

    def tick(self, now: float) -> bool:
        """Time has passed. Whether the state is another one now."""
        return self.state == "open" and now >= self.until and self._move(now, "waited")

    def leave(self, now: float) -> bool:
        """Nobody uses it any more: what it has learned is forgotten. Whether the state is another one now."""
        self._forget()
        return self._move(now, "left")

    def force(self, now: float, state: Literal["forced-open", "forced-closed"]) -> bool:
        """Until `auto`, whatever happens. Whether the state is another one now."""
        return self.state != state and self._enter(now, state)

    def auto(self, now: float) -> bool:
        """By itself again. Whether the state is another one now."""
        return self.state in AUTO and self._enter(now, AUTO[self.state])

    def _move(self, now: float, event: Event, pause: float = 0.0) -> bool:
        following = NEXT.get((self.state, event))
        return following is not None and self._enter(now, following, pause)

    def _enter(self, now: float, state: State, pause: float = 0.0) -> bool:
        was_shut = not self.lets_through
        self.state, self.changed = state, now
        self.lets_through = state in LETS_THROUGH
        self.moves[state] += 1
        self._probing = self._passed = 0
        self.until = inf
        if state == "open":
            longer = min(self._cap, self._open_for * 2.0 ** min(self.in_vain, 64))
            self.until = now + max(longer, pause)
        if not self.lets_through:
            self.shut_since = self.shut_since if was_shut else now
        else:
            self.shut_since = inf
            self.well_since = now if was_shut else self.well_since
            self._forget()
        return True

    def _forget(self) -> None:
        self.in_vain = self.calls = 0
        self.failing.clear()
        self.slowing.clear()
