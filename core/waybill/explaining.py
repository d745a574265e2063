"""What an application will do, said before it does anything. Pure: from its code, its settings and what the broker claims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from waybill.adapter import Adapter, Capabilities, Explains, claims_of
from waybill.brokers import Brokers
from waybill.classifying import KINDS, Kind
from waybill.course import Step, course
from waybill.gates import Bulkhead, CircuitBreaker
from waybill.options import ConsumerOptions
from waybill.outcomes import DeadLetter, Defer
from waybill.registration import Registration
from waybill.retry import Retry, duration, seconds
from waybill.topology import Subscription, TopicSpec

__all__ = ["Explained", "explain", "timeline", "weaker"]

COPIED = "emulated: a copy is published and confirmed, then the message acknowledged; if the process dies in between, both are left"


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription, in words: pairs of what and how."""

    subscription: str
    handler: str
    facts: Sequence[tuple[str, str]]
    course: Sequence[Step]
    """What becomes of a message that fails at each attempt, and when."""


def explain(registrations: Sequence[Registration], brokers: Brokers, *, lease: float) -> list[Explained]:
    """What becomes of the messages of each subscription on the broker it lies on, as that claims to be. `lease`: seconds."""
    return [
        Explained(
            subscription=registration.subscription.name,
            handler=registration.name,
            facts=_facts(registration, brokers.of(registration.subscription.topic), lease),
            course=course(registration.options.retry, registration.options.timeout),
        )
        for registration in registrations
    ]


def _facts(registration: Registration, adapter: Adapter, lease: float) -> list[tuple[str, str]]:
    options, subscription = registration.options, registration.subscription
    can = claims_of(adapter, subscription.topic)
    timeout = "never" if options.timeout is None else f"cancelled after {duration(options.timeout)}, a failed attempt"
    facts = [
        ("payload", getattr(registration.topic.payload, "__name__", str(registration.topic.payload))),
        *_share(subscription, can),
        ("handlers at once", _concurrency(registration)),
        *_guards(options),
        ("order", _order(registration)),
        ("a handler that runs long", timeout),
        ("a message that fails", timeline(options.retry)),
    ]
    facts += [(f"… with {kind.__name__}", timeline(policy)) for kind, policy in options.retry.per.items()]
    if options.retry.never:
        kinds = ", ".join(kind.__name__ for kind in options.retry.never)
        facts.append(("never tried again", f"{kinds}: dead-lettered at once"))
    facts += _told(options)
    kept = f"kept for {subscription.name}, until somebody takes them"
    gone = "GO WITH THE GROUP, when this process ends"
    facts += [
        ("a body that does not fit", "dead-lettered at once, with its bytes"),
        ("dead letters", gone if subscription.ephemeral else kept),
        ("a process that dies", f"its messages go to others; one that hangs loses them after {duration(lease)}"),
        *([("a restart of the broker", "confirmed messages are kept")] if can.durable else ()),
        *weaker(adapter, subscription),
        *_topic(subscription.topic, can),
        *(adapter.facts(subscription) if isinstance(adapter, Explains) else ()),
    ]
    return facts


def weaker(adapter: Adapter, subscription: Subscription) -> Iterator[tuple[str, str]]:
    """Where the broker does less than others do, or Waybill in its place: what about, and what that is worth."""
    can = claims_of(adapter, subscription.topic)
    if Defer not in adapter.native_settlements:
        yield "waiting for a retry", COPIED
    elif can.longest_defer is not None:
        yield "waiting for a retry", f"beyond {duration(can.longest_defer)} {COPIED}"
    if DeadLetter not in adapter.native_settlements:
        yield "becoming a dead letter", COPIED
    if subscription.where and not can.filters:
        wanted = _wanted(subscription)
        yield "only messages", f"{wanted}; the others are fetched and passed over here"
    if not can.durable:
        yield "a restart of the broker", "EVERYTHING IS LOST: this broker is memory"


def _share(subscription: Subscription, can: Capabilities) -> Iterator[tuple[str, str]]:
    if subscription.topic.pattern:
        yield "topics", f"every topic that fits {subscription.topic.name}, also one that comes later"
    if subscription.where and can.filters:
        yield "only messages", _wanted(subscription)
    if subscription.ephemeral:
        yield "the group", "comes and goes with each process: it gets only what is published meanwhile"
    elif subscription.start is not None:
        kept = (
            "all that the topic still keeps" if subscription.start == "earliest" else "what is published from then on"
        )
        yield "a new group begins", f"with {kept}"


def _wanted(subscription: Subscription) -> str:
    return "whose header " + ", ".join(f"{name} is {' or '.join(values)}" for name, values in subscription.where)


def _concurrency(registration: Registration) -> str:
    options, batch = registration.options, registration.options.batch
    held = f"holding at most {options.held} messages or {options.window_bytes >> 20} MiB"
    if batch is None:
        return f"{options.concurrency}, {held}"
    alone = "; after a batch has failed, its messages one by one"
    return f"{options.concurrency}, each for up to {batch.size} messages or what has come in {duration(batch.pause)}{alone}; {held}"


def _guards(options: ConsumerOptions) -> Iterator[tuple[str, str]]:
    """What keeps handlers from starting, or from starting again."""
    if options.limit is not None:
        held = (
            "what could not start soon stays with the broker" if options.limit.by is None else "others pass meanwhile"
        )
        yield "starts at most", f"{options.limit}, in each process; {held}"
    for gate in options.gates:
        if isinstance(gate, Bulkhead):
            yield "shares", str(gate)
        elif isinstance(gate, CircuitBreaker):
            yield "depends on", _circuit(gate)
    if options.budget is not None:
        yield "retries", f"{options.budget}; beyond that they come later, and nothing is given up for it"


def _circuit(breaker: CircuitBreaker) -> str:
    rules = breaker.rules
    window = "" if rules.window is None else f" within {duration(seconds(rules.window, 'window'))}"
    slow = (
        ""
        if rules.slow is None
        else f", or {rules.slow_share:.0%} take longer than {duration(seconds(rules.slow, 'slow'))}"
    )
    opened = duration(seconds(rules.open_for, "open_for"))
    return (
        f"{breaker.name}: when {rules.failures:.0%} of {rules.calls} handlings fail{window}{slow}, nothing is fetched for {opened} "
        f"or longer; what is held waits here, and no attempt is spent, by probes neither"
    )


def _told(options: ConsumerOptions) -> Iterator[tuple[str, str]]:
    """What errors say."""
    for kind in KINDS:
        if classes := options.kinds.named(kind):
            yield f"{kind} errors", f"{', '.join(cls.__name__ for cls in classes)}: {MEANING[kind]}"
    if options.retry.heed and options.retry.most > 1:
        yield "Retry-After", f"of a dependency is waited for, up to {duration(options.retry.heed)}"


MEANING: dict[Kind, str] = {
    "transient": "tried again",
    "systemic": "tried again; circuit breakers count them",
    "permanent": "dead-lettered at once",
    "poison": "dead-lettered at once",
}


def _topic(topic: TopicSpec, can: Capabilities) -> Iterator[tuple[str, str]]:
    if topic.retention is not None:
        yield "what was handled", f"is kept for {duration(topic.retention)}, for groups that start with the earliest"
    if topic.max_length is not None:
        yield "a full group", f"at {topic.max_length} messages to handle, publishing is refused"
    if topic.dedup_window is not None:
        yield "a second message of one id", f"within {duration(topic.dedup_window)} is confirmed and not stored"
    if topic.accept_unrouted:
        yield "a message for no group", "is confirmed all the same"
    if topic.broker is not None:
        yield "broker", f"{topic.broker} ({can.broker})"


def _order(registration: Registration) -> str:
    if not registration.subscription.ordered:
        return "none: messages are handled as handlers become free"
    if registration.options.relaxed:
        return "by key; later ones pass a failed message, which comes back marked out of order"
    if registration.options.on_failure == "block-partition":
        return "by key; all that is behind a failed message waits for it"
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
