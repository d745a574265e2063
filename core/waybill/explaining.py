"""What an application will do, said before it does anything. Pure: from its code, its settings and what the broker claims."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from waybill.adapter import Capabilities
from waybill.brokers import Brokers
from waybill.registration import Registration
from waybill.retry import Retry, duration

__all__ = ["Explained", "explain", "timeline"]


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription, in words: pairs of what and how."""

    subscription: str
    handler: str
    facts: Sequence[tuple[str, str]]


def explain(registrations: Sequence[Registration], brokers: Brokers, *, lease: float) -> list[Explained]:
    """What becomes of the messages of each subscription on the broker it lies on, as that claims to be. `lease`: seconds."""
    return [
        Explained(
            subscription=registration.subscription.name,
            handler=registration.name,
            facts=_facts(registration, brokers.of(registration.subscription.topic).claims, lease),
        )
        for registration in registrations
    ]


def _facts(registration: Registration, can: Capabilities, lease: float) -> list[tuple[str, str]]:
    options, subscription = registration.options, registration.subscription
    timeout = "never" if options.timeout is None else f"cancelled after {duration(options.timeout)}, a failed attempt"
    facts = [
        ("payload", getattr(registration.topic.payload, "__name__", str(registration.topic.payload))),
        (
            "handlers at once",
            f"{options.concurrency}, holding at most {options.held} messages or {options.window_bytes >> 20} MiB",
        ),
        ("order", _order(registration)),
        ("a handler that runs long", timeout),
        ("a message that fails", timeline(options.retry)),
    ]
    facts += [(f"… with {kind.__name__}", timeline(policy)) for kind, policy in options.retry.per.items()]
    if options.retry.never:
        kinds = ", ".join(kind.__name__ for kind in options.retry.never)
        facts.append(("never tried again", f"{kinds}: dead-lettered at once"))
    facts += [
        ("a body that does not fit", "dead-lettered at once, with its bytes"),
        ("dead letters", f"kept for {subscription.name}, until somebody takes them"),
        ("a process that dies", f"its messages go to others; one that hangs loses them after {duration(lease)}"),
        (
            "a restart of the broker",
            "confirmed messages are kept" if can.durable else "EVERYTHING IS LOST: this broker is memory",
        ),
    ]
    return facts


def _order(registration: Registration) -> str:
    if not registration.subscription.ordered:
        return "none: messages are handled as handlers become free"
    if registration.options.relaxed:
        return "by key; later ones pass a failed message, which comes back marked out of order"
    return "by key; a key waits for its failed message, then goes on; other keys do not wait"


def timeline(retry: Retry) -> str:
    """When a message that always fails is tried, and what becomes of it: `5 attempts within 15 s (…), then dead-lettered`."""
    waits = retry.timeline()
    if not waits:
        return "1 attempt, then dead-lettered"
    total = sum(waits)
    each = ", ".join(duration(wait) for wait in waits[:6]) + (", …" if len(waits) > 6 else "")
    most = "at most " if retry.jitter else ""
    text = f"{retry.attempts} attempts within {duration(total)} ({most}{each} apart, handling not counted), then dead-lettered"
    if retry.max_age is not None:
        text += f"; none later than {duration(retry.max_age)} after the first failure"
    return text
