"""Delays of any length on queues of fixed ones. Pure.

Each step of the ladder is a queue whose messages wait twice as long as those of the step below. A delay is a sum of steps,
written as bits into the routing key: a message waits on every step whose bit is 1 and passes the others by. So no message
waits behind one that has longer to go, and the ladder is one for all topics; behind the bits the routing key says where the
message goes in the end. Source: the delay infrastructure of NServiceBus, which does this with 28 steps.
"""

from __future__ import annotations

from waybill_rabbitmq.names import RETURN, step

__all__ = ["LONGEST", "STEPS", "UNIT", "below", "route", "steps_key", "wait_of", "waits_key"]

UNIT = 0.1
"""Seconds of the lowest step; delays are rounded up to it."""
STEPS = 28
LONGEST = UNIT * (2**STEPS - 1)
"""Seconds: 310 days."""


def route(seconds: float, address: str, partition: int) -> tuple[str, str]:
    """The exchange that a message enters by, and its routing key."""
    units = max(1, -int(-seconds // UNIT))
    if units >= 2**STEPS:
        raise ValueError(f"the longest delay is {LONGEST:.0f} s")
    bits = ".".join(f"{units:0{STEPS}b}")
    return step(units.bit_length() - 1), f"{bits}.{address}.{partition}"


def wait_of(level: int) -> int:
    """Milliseconds that a message waits on this step."""
    return round(UNIT * 1000) << level


def below(level: int) -> str:
    """The exchange under this step."""
    return step(level - 1) if level else RETURN


def waits_key(level: int) -> str:
    """What the routing keys of messages that wait on this step look like."""
    return _key(level, "1")


def steps_key(level: int) -> str:
    """Those of messages that pass it by."""
    return _key(level, "0")


def _key(level: int, bit: str) -> str:
    return ".".join([*["*"] * (STEPS - 1 - level), bit, "#"])
