"""What an application knows of itself without counting: looked at when somebody reads the metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from waybill.consumer import Consumer
from waybill.gates import CircuitBreaker
from waybill.gates.circuit import LETS_THROUGH, STATES
from waybill.health import Health, Status
from waybill.telemetry import catalogue
from waybill.telemetry.conventions import declared
from waybill.telemetry.tally import Reading

if TYPE_CHECKING:
    from waybill.app import App

__all__ = ["looked"]


def looked(app: App) -> Iterator[Reading]:
    """All that can be seen of it now; nothing while it does not run."""
    runtime = app._runtime
    if runtime is None:
        return
    consumers = list(runtime.consumers)
    health = app.health()
    yield from _parts(health, consumers)
    yield from _circuits(consumers)
    yield Reading(catalogue.CALLS, [((call,), float(number)) for call, number in app.calls().items()])


def _parts(health: Health, consumers: Sequence[Consumer]) -> Iterator[Reading]:
    """Consumers come first among the parts, in the same order."""
    consuming = list(zip(map(_labels, consumers), health.parts, strict=False))
    yield Reading(catalogue.CONSUMER_UP, [(at, float(part.status is not Status.DOWN)) for at, part in consuming])
    yield Reading(catalogue.CONSUMER_DEGRADED, [(at, float(part.status is not Status.UP)) for at, part in consuming])
    yield Reading(catalogue.RUNNING, [(at, float(part.running)) for at, part in consuming])
    yield Reading(catalogue.HELD, [(at, float(part.held)) for at, part in consuming])
    yield Reading(catalogue.EMULATED, [((*at, about), 1.0) for at, part in consuming for about in part.weaker])
    publishing = health.parts[len(consumers) :]
    yield Reading(catalogue.WAITING, [((part.name,), float(part.held)) for part in publishing])


def _circuits(consumers: Sequence[Consumer]) -> Iterator[Reading]:
    """A circuit that several subscriptions share is open for each of them; it has changed once for all."""
    guarded = [(gate, each) for each in consumers for gate in each.gates if isinstance(gate, CircuitBreaker)]
    shut = [((gate.name, *_labels(each)), float(gate.state not in LETS_THROUGH)) for gate, each in guarded]
    yield Reading(catalogue.CIRCUIT_OPEN, shut)
    reports = {gate.name: gate.describe() for gate, _ in guarded}
    moves = [((name, to), float(r.transitions.get(to, 0))) for name, r in reports.items() for to in STATES]
    yield Reading(catalogue.CIRCUIT_TRANSITIONS, moves)


def _labels(consumer: Consumer) -> tuple[str, str]:
    subscription = consumer.subscription
    return subscription.topic.name, declared(subscription).group
