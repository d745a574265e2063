"""What a breaker, a retry budget, a rate limit and a timeout cost a message while nothing fails; each alone, and all four.

The consumer is that of `pipeline`, without and with them; what is told is the difference. Beside them, what FastStream
pays for one middleware that does nothing, measured in the same way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

from benchmarks.harness import Meter, Row, Run, alone, interleave
from benchmarks.payload import body
from benchmarks.pipeline import MESSAGES, faststream, ours, timed
from waybill import Bulkhead, CircuitBreaker, RateLimit, RetryBudget

__all__ = ["measure"]

Contender = Callable[[Sequence[bytes], Meter], Awaitable[None]]

ENDLESS = 10_000_000
"""A rate that nothing reaches: what is measured is the asking."""
TARGETS = dict.fromkeys(("breaker", "retry budget", "rate limit", "timeout"), 2.0) | {"all four": 6.0}
"""Microseconds."""
ROUNDS = 3
"""So many times the usual number: a difference of two medians needs more of them."""


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
    bodies = [body(number) for number in range(run.messages(MESSAGES))]
    contenders: dict[str, Callable[[], float]] = {"bare": lambda: _ours(bodies, "")}
    contenders |= {name: partial(_ours, bodies, name) for name in guards()}
    contenders |= {
        "FastStream": lambda: timed(partial(faststream, empty=False), bodies),
        "its empty middleware": lambda: timed(faststream, bodies),
    }
    found = interleave(contenders, run.rounds * ROUNDS)
    theirs = _more(found["its empty middleware"], found["FastStream"])
    return [
        alone(
            f"guards: {name}, beside FastStream's empty middleware",
            "us CPU/message",
            _more(found[name], found["bare"]),
            baseline=theirs,
            at_most=TARGETS.get(name),
        )
        for name in guards()
    ]


def _ours(bodies: Sequence[bytes], name: str) -> float:
    options: Mapping[str, Any] = {"timeout": None, **(guards()[name] if name else {})}
    return timed(partial(ours, **options), bodies)


def _more(found: Sequence[float], bare: Sequence[float]) -> float:
    return median(a - b for a, b in zip(found, bare, strict=True))
