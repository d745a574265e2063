"""Where a message waits: rooms of steps, each a partition in which everything waits equally long. Pure.

A log is read in order, so a message that waits longer would hold up those behind it that wait less. Therefore a message with
90 s to go waits 30 s in the partition of 30 s, three times. What has less than the lowest step to go lies in partition 0,
which is read ahead and handed on by time.
"""

from __future__ import annotations

from bisect import bisect_right

__all__ = ["PARTITIONS", "STEPS", "hop"]

STEPS = (0.0, 1.0, 5.0, 30.0, 180.0, 900.0, 3600.0, 21600.0, 86400.0)
"""Seconds, by partition. They may be changed at any time: what waits carries the time of its next step."""
PARTITIONS = len(STEPS)


def hop(now: float, due: float) -> tuple[int, float]:
    """Where a message waits that is due then, and until when. Times are seconds since the epoch."""
    step = bisect_right(STEPS, max(0.0, due - now)) - 1
    return step, due if step == 0 else now + STEPS[step]
