"""What becomes of a message that fails at each attempt, and when: as data, and drawn. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

import msgspec

from waybill.retry import Retry, duration

__all__ = ["Step", "course", "drawn"]

SHOWN = 10
"""Attempts that are drawn; of more, the first of them and the last."""


class Step(msgspec.Struct, frozen=True):
    """One thing that happens to it."""

    at: float
    """Seconds after its first attempt began, if handlers fail at once and each wait is as long as it can be."""
    by: float | None
    """The same, if each attempt runs until it is cancelled; `None`: none ever is, or it is given up before."""
    what: str
    """`attempt 2`, or `dead letter: retries_exhausted`."""


def course(retry: Retry, timeout: float | None) -> list[Step]:
    """The steps, in order; the last is the dead letter. `timeout`: seconds of one attempt, if it is bounded."""
    steps, at, reason = [Step(0.0, None if timeout is None else 0.0, "attempt 1")], 0.0, "retries_exhausted"
    oldest, longest = inf if retry.max_age is None else retry.max_age, timeout or 0.0
    given_up: float | None = None
    for ended, wait in enumerate(retry.timeline(), start=1):
        if at + wait > oldest:
            reason = "expired"
            break
        if given_up is None and at + (ended - 1) * longest + wait > oldest:  # its age counts from the first failure
            given_up = at + ended * longest
        at += wait
        comes = timeout is not None and given_up is None
        steps.append(Step(at, at + ended * longest if comes else None, f"attempt {ended + 1}"))
    if given_up is None:
        given_up = None if timeout is None else at + len(steps) * timeout
    elif reason != "expired":
        reason += ", or expired"
    return [*steps, Step(at, given_up, f"dead letter: {reason}")]


def drawn(steps: Sequence[Step]) -> Iterator[str]:
    """A heading, and a line each, beside the times: if each attempt fails at once, and if each is cancelled in the end."""
    yield f"{'fails':>10}  {'times out':>10}  a message that always fails, waits at their longest"
    for place, step in enumerate(steps):
        if SHOWN <= place < len(steps) - 2:
            if place == SHOWN:
                yield f"{'':>10}  {'':>10}  ┆"
            continue
        by = "" if step.by is None else duration(step.by)
        yield f"{duration(step.at):>10}  {by:>10}  {'●' if step is not steps[-1] else '✗'} {step.what}"
