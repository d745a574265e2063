"""What a breaker, a retry budget, a rate limit and a timeout cost a message while nothing fails; each alone, and all four.

The consumer is that of `pipeline`, without and with them; what is told is the difference. Beside them, what FastStream
pays for one middleware that does nothing, measured in the same way; and the consumer against itself, which tells how exact
all this is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.harness import Meter, Row, Run, added, alone, interleave
from benchmarks.payload import body
from benchmarks.pipeline import SHORT, faststream, ours, timed
from waybill import Bulkhead, CircuitBreaker, RateLimit, RetryBudget

__all__ = ["measure"]

Contender = Callable[[Sequence[bytes], Meter], Awaitable[None]]

ENDLESS = 10_000_000
"""A rate that nothing reaches: what is measured is the asking."""
TARGETS = dict.fromkeys(("breaker", "retry budget", "rate limit", "timeout"), 2.0) | {"all four": 6.0}
"""Microseconds."""
ROUNDS = 20
"""So many times the usual number, of short ones."""


def guards() -> Mapping[str, Mapping[str, Any]]:
    """Options of `consume`, made anew for each run: breakers remember."""
    breaker: Mapping[str, Any] = {"breaker": CircuitBreaker("bank")}
    budget: Mapping[str, Any] = {"budget": RetryBudget(0.2)}
    limit: Mapping[str, Any] = {"limit": RateLimit(ENDLESS)}
    timeout: Mapping[str, Any] = {"timeout": 60.0}
    return {
        "breaker": breaker,
        "retry budget": budget,
        "rate limit": limit,
        "timeout": timeout,
        "all four": {**breaker, **budget, **limit, **timeout},
        "rate limit by key": {"limit": RateLimit(ENDLESS, by="key")},
        "bulkhead": {"bulkhead": Bulkhead("database", 10_000)},
    }


def measure(run: Run) -> list[Row]:
    """Microseconds of processor time that each adds to a message."""
    bodies = [body(number) for number in range(run.messages(SHORT))]
    contenders: dict[str, Callable[[], float]] = {name: lambda: _ours(bodies, "") for name in ("bare", "itself")}
    contenders |= {name: partial(_ours, bodies, name) for name in guards()}
    contenders |= {
        "FastStream": lambda: timed(partial(faststream, empty=False), bodies, 1),
        "its empty middleware": lambda: timed(faststream, bodies, 1),
    }
    found = interleave(contenders, run.rounds * ROUNDS)
    theirs = added(found["its empty middleware"], found["FastStream"])
    rows = [
        alone(
            f"guards: {name}, beside FastStream's empty middleware",
            "us CPU/message",
            added(found[name], found["bare"]),
            baseline=theirs,
            at_most=TARGETS.get(name),
        )
        for name in guards()
    ]
    noise = alone("guards: none, beside itself", "us CPU/message", added(found["itself"], found["bare"]))
    return [*rows, noise]


def _ours(bodies: Sequence[bytes], name: str) -> float:
    options: Mapping[str, Any] = {"timeout": None, **(guards()[name] if name else {})}
    return timed(partial(ours, **options), bodies, 1)
