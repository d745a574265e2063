"""What becomes of a message that fails at each attempt, and when: as data, and drawn. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    """The same, if each attempt runs until it is cancelled; `None`: none ever is."""
    what: str
    """`attempt 2`, or `dead letter: retries_exhausted`."""


def course(retry: Retry, timeout: float | None) -> list[Step]:
    """The steps, in order; the last is the dead letter. `timeout`: seconds of one attempt, if it is bounded."""
    steps, at, reason = [_step(0.0, 0, "attempt 1", timeout)], 0.0, "retries_exhausted"
    for number, wait in enumerate(retry.timeline(), start=2):
        if retry.max_age is not None and at + wait > retry.max_age:
            reason = "expired"
            break
        at += wait
        steps.append(_step(at, number - 1, f"attempt {number}", timeout))
    return [*steps, _step(at, len(steps), f"dead letter: {reason}", timeout)]


def _step(at: float, ended: int, what: str, timeout: float | None) -> Step:
    """`ended`: attempts before it."""
    return Step(at, None if timeout is None else at + ended * timeout, what)


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
