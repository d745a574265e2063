"""What a topology asks and its broker cannot do: every gap at once, each with what would serve. Pure.

What an application needs is known before it connects, and so is the most that a broker can; so nobody learns at run time
that a promise was silently weaker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from waybill.adapter import Capabilities, capabilities_of, claims_of
from waybill.brokers import Brokers, any_topic, on_each
from waybill.errors import CapabilityError
from waybill.registration import Registration
from waybill.retry import duration
from waybill.topology import Subscription, TopicSpec, Topology

__all__ = ["REPLAYS", "check_gaps", "gaps"]

KEEPS_HISTORY = "the embedded broker and Kafka keep one"
REPLAYS = "Kafka reads it again"
REFUSES = "the embedded broker and RabbitMQ refuse when a group is full"


def check_gaps(brokers: Brokers, topology: Topology, registrations: Sequence[Registration], *, connected: bool) -> None:
    """Raises `CapabilityError` with every need that a broker cannot serve. `connected`: by what it really can.

    topology: what the application names, the groups of its contracts included.
    """
    found: list[str] = []
    groups = {s.name: s for s in (*topology.subscriptions, *(r.subscription for r in registrations))}
    for name, part in on_each(Topology(topology.topics, tuple(groups.values()))).items():
        adapter = brokers.of(any_topic(part))
        here = [r for r in registrations if r.topic.spec.broker == name]
        can = partial(capabilities_of if connected else claims_of, adapter)
        found += gaps(part, here, can)
        found += adapter.gaps(part)
    if found:
        raise CapabilityError(*found)


def gaps(
    topology: Topology, registrations: Sequence[Registration], can: Callable[[TopicSpec], Capabilities]
) -> list[str]:
    """Each need that is not served, in words, with the fix. `can`: what can be done with a topic."""
    found: list[str] = []
    for topic in topology.topics:
        found += _topic(topic, can(topic))
    subscriptions = {subscription.name: subscription for subscription in topology.subscriptions}
    for registration in registrations:
        subscriptions.setdefault(registration.subscription.name, registration.subscription)
        found += _policy(registration, can(registration.topic.spec))
    for subscription in subscriptions.values():
        found += _subscription(subscription, can(subscription.topic))
    return found


def _topic(topic: TopicSpec, can: Capabilities) -> Iterator[str]:
    name, broker = topic.name, can.broker
    if topic.retention is not None and not can.history:
        yield f"{name} has a retention, and {broker} keeps nothing that was handled: drop retention ({KEEPS_HISTORY})"
    if topic.max_length is not None and not can.limits_length:
        yield f"{name} has a max_length, and {broker} limits no length: drop max_length ({REFUSES})"
    window, longest = topic.dedup_window, can.dedup_window
    if window is not None and longest is not None and window > longest:
        at_most = f"for at most {duration(longest)}" if longest else "no ids"
        yield (
            f"{name} has a dedup_window of {duration(window)}, and {broker} remembers {at_most}: shorten or drop it, and "
            f"let the handler skip what it has done"
        )


def _policy(registration: Registration, can: Capabilities) -> Iterator[str]:
    name, options = registration.subscription.name, registration.options
    if options.on_failure == "block-partition" and not can.blocks_partition:
        yield (
            f"{name}: {can.broker} cannot hold up all that is behind a failed message: use on_failure='block-key', "
            f"which holds up its key"
        )
    if registration.subscription.ordered and options.relaxed and not can.relaxes:
        yield f"{name}: {can.broker} cannot let a key go on without its failed message: use on_failure='block-key'"


def _subscription(subscription: Subscription, can: Capabilities) -> Iterator[str]:
    name, broker = subscription.name, can.broker
    if subscription.ordered and not can.ordered:
        yield f"{name} is consumed ordered, and {broker} keeps no order over several members: drop ordered=True"
    if subscription.topic.pattern and not can.patterns:
        yield f"{name} is a pattern, and {broker} knows none: consume the topics by name"
    if subscription.ephemeral and not can.ephemeral:
        yield f"{name} is ephemeral, and {broker} has no such groups: give it a group of its own"
    if subscription.start == "earliest" and not can.history:
        yield f"{name} starts with the earliest, and {broker} keeps no history: drop start='earliest' ({KEEPS_HISTORY})"
