"""Brokers set against what an application asks for: what each serves by itself, what is weaker there, what it refuses. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from waybill.abilities import Ability, abilities, size
from waybill.adapter import Adapter
from waybill.brokers import Brokers
from waybill.calling import Calls, CountsCalls
from waybill.errors import CapabilityError
from waybill.evidence import evidence
from waybill.gaps import check_gaps
from waybill.needs import Asked, Need
from waybill.retry import duration
from waybill.topology import Destination, TopicSpec

__all__ = ["Option", "Served", "weigh"]

ORDER = ("native", "emulated", "refused")


class Served(msgspec.Struct, frozen=True):
    """One need, and how the broker serves it."""

    need: Need
    ability: Ability
    evidence: str


class Option(msgspec.Struct, frozen=True):
    """One broker."""

    name: str
    """The adapter's: `kafka`."""
    broker: str
    """For people: `Kafka`."""
    served: Sequence[Served]
    gaps: Sequence[str]
    """What has to change before the application starts on it, each with the fix."""
    limits: str
    calls: Sequence[Calls]

    @property
    def fits(self) -> bool:
        return not self.gaps

    def of(self, how: str) -> list[Served]:
        return [one for one in self.served if one.ability.how == how]


def weigh(name: str, adapter: Adapter, app: Asked, needs: Sequence[Need]) -> Option:
    """One broker, by what it claims before it is connected to."""
    served = [Served(need, ability := _least(adapter, need), evidence(name, ability.promises)) for need in needs]
    topic = next(iter(app.topology.topics), TopicSpec(app.application))
    most = abilities(adapter, topic)["large messages"].words
    load = app.load
    calls = (
        adapter.calls(app.topology, rate=load.rate or 1.0, size=load.size or 1024)
        if isinstance(adapter, CountsCalls)
        else ()
    )
    return Option(name, adapter.claims.broker, served, [*_gaps(adapter, app), *_beyond(adapter, app)], most, calls)


def _least(adapter: Adapter, need: Need) -> Ability:
    """Of the topics that ask, the one that is served least."""
    found = [abilities(adapter, topic)[need.ability] for topic in need.topics]
    return max(found, key=lambda ability: ORDER.index(ability.how))


def _gaps(adapter: Adapter, app: Asked) -> Sequence[str]:
    try:
        brokers = Brokers({None: adapter}, everywhere=True)
        check_gaps(brokers, app.topology, app.registrations, connected=False)
    except CapabilityError as error:
        return error.args
    return ()


def _beyond(adapter: Adapter, app: Asked) -> Iterator[str]:
    """What the load asks for beyond the limits."""
    largest, delay = app.load.largest or app.load.size or 0, app.load.delay or 0.0
    if (app.load.machines or 1) > 1 and adapter.claims.one_machine:
        yield f"{adapter.claims.broker} belongs to one machine: run all of it there"
    for topic in app.topology.topics:
        limits, broker = adapter.limits(Destination("topic", topic)), adapter.claims.broker
        if largest > limits.body_bytes:
            most = size(limits.body_bytes)
            yield f"{topic.name}: {broker} carries {most}, and the largest message has {size(largest)}: send a reference"
        can_delay = abilities(adapter, topic)["delayed publishing"]
        if delay and can_delay.how == "refused":
            yield f"{topic.name}: {broker} delays nothing: keep what is to wait in a store of yours"
        elif limits.delay is not None and delay > limits.delay:
            at_most = duration(limits.delay)
            yield f"{topic.name}: {broker} delays by {at_most} at most, and {duration(delay)} is asked for: shorten it"
