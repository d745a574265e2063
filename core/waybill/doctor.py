"""What is wrong with an application on its broker, and what to do about it. Looks only: declares, takes and sends nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from typing import Any

from waybill.adapter import Admin
from waybill.app import App
from waybill.asking import codecs_of
from waybill.brokers import on_each
from waybill.errors import BrokerError, BrokerUnavailable, CodecUnavailable, WaybillError
from waybill.findings import Diagnoses, Finding, KnowsRights
from waybill.registration import Registration
from waybill.retry import duration
from waybill.topic import Readable, Topic
from waybill.topology import Backlog, Plan, Topology

__all__ = ["examine", "of_backlog", "of_codecs", "of_plan", "of_topics"]

WAITING = 60.0
"""Seconds that the oldest message of a group may wait while nobody handles any."""
BEHIND = 600.0
"""Seconds that it may be old at least while some are handled."""


async def examine(
    app: App, topics: Iterable[Topic[Any]], note: Callable[[Finding], None], *, options: str = ""
) -> None:
    """Connect as `app` does and note what is found, one after another; what went wrong on the way is one of it.

    topics: those its code knows, besides those it consumes. options: of the commands that are recommended, e.g.
    ` --app service:app`. Takes as long as the broker does: the caller sets the bound.
    """
    try:
        app.explain()  # what the broker cannot do is known without it
        brokers = app.brokers()
        for adapter in brokers.all.values():
            if isinstance(adapter, Diagnoses):  # also of a broker that cannot be connected to
                for finding in await adapter.diagnose():
                    note(finding)
        begun = time.monotonic()
        async with brokers.connected():
            took = time.monotonic() - begun
            for name, adapter in brokers.all.items():
                can = adapter.capabilities
                value = f"{can.broker} ({can.version})" if can.version else can.broker
                what = "broker" if name is None else f"broker {name}"
                note(Finding(what, f"{value}, connected in {took * 1000:.0f} ms"))
            try:
                await _look(app, brokers.admin, topics, note, options)
            except BrokerUnavailable:
                raise
            except BrokerError as error:  # what we may not see is told by what follows
                note(Finding("topology", "", str(error)))
            for finding in await of_codecs([*(r.topic for r in app.registrations), *topics]):
                note(finding)
            for name, part in on_each(_done(app, topics)).items():
                if isinstance(knows := brokers.all.get(name), KnowsRights):
                    for finding in await knows.rights(part):
                        note(finding)
    except BrokerUnavailable as error:
        note(Finding("broker", "", str(error), "see that the broker runs, and that this machine may reach it"))
    except WaybillError as error:  # its text says what to do
        note(Finding("broker", "", str(error)))


def _done(app: App, topics: Iterable[Topic[Any]]) -> Topology:
    """What the application does, as far as its code shows: it handles some groups, and publishes to the other topics."""
    consumed = {registration.subscription.topic.name for registration in app.registrations}
    known = dict.fromkeys([*app.topology.topics, *(topic.spec for topic in topics)])
    subscriptions = [registration.subscription for registration in app.registrations]
    return Topology(
        [topic for topic in known if topic.name not in consumed],
        [subscription for subscription in subscriptions if not subscription.ephemeral],
    )


async def _look(
    app: App, admin: Admin, topics: Iterable[Topic[Any]], note: Callable[[Finding], None], options: str
) -> None:
    for finding in of_plan(await admin.plan(app.topology), options):
        note(finding)
    handled = {registration.subscription.name: registration for registration in app.registrations}
    for subscription in app.topology.subscriptions:
        for group in await admin.expand(subscription):
            for finding in of_backlog(await admin.backlog(group), handled.get(subscription.name), options):
                note(finding)
    for finding in of_topics(topics, app.registrations):
        note(finding)


async def of_codecs(topics: Iterable[Readable[Any]]) -> list[Finding]:
    """Whether those codecs that must ask somebody, e.g. a registry of schemas, are answered."""
    found: list[Finding] = []
    for name, codec in codecs_of(topics):
        try:
            found.append(Finding(f"codec of {name}", await codec.check()))
        except CodecUnavailable as error:
            found.append(
                Finding(f"codec of {name}", "", str(error), "see that it runs, and that this machine may reach it")
            )
        except WaybillError as error:
            found.append(Finding(f"codec of {name}", "", str(error)))
        finally:
            await codec.close()
    return found


def of_plan(plan: Plan, options: str) -> Generator[Finding]:
    """What is missing on the broker, and what differs."""
    missing = [change.what for change in plan.changes if change.action == "create"]
    altered = [f"{change.what} {change.detail}".strip() for change in plan.changes if change.action == "alter"]
    differing = [f"{change.what} {change.detail}".strip() for change in plan.changes if change.action == "differs"]
    if missing:
        fix = f"waybill topology apply{options}, or start the application, unless its setting `topology` forbids that"
        yield Finding("topology", "", f"missing: {', '.join(missing)}", fix)
    if altered:
        fix = f"waybill topology apply{options}"
        yield Finding("topology", "", f"to be altered: {', '.join(altered)}", fix)
    if differing:
        fix = (
            f'waybill topology apply --allow "…"{options} with its name changes it; or change the code that declares it'
        )
        yield Finding("topology", "", f"differs: {', '.join(differing)}", fix)
    topics, groups = len(plan.topology.topics), len(plan.topology.subscriptions)
    if not plan.changes and (topics or groups):
        yield Finding("topology", f"all there (topics: {topics}, groups: {groups})")


def of_backlog(found: Backlog, handler: Registration | None, options: str) -> Generator[Finding]:
    """What lies before one group. `handler`: the application's own; `None`: another one's, or nobody's."""
    name, place = found.subscription.name, f"--topic {found.subscription.topic.name} --group {found.subscription.group}"
    troubles: list[tuple[str, str]] = []
    if dead := found.dead.value:
        fix = f"waybill dlq list {place}{options} says why; then `dlq redrive` or `dlq discard`"
        troubles.append((f"dead letters: {dead:.0f}", fix))
    troubles += _delays(found, handler, options)
    value = _counted(found) + ("" if handler else "; no handler in this application")
    if not troubles:
        yield Finding(name, value)
    for trouble, fix in troubles:
        yield Finding(name, value, trouble, fix)
        value = ""


def _counted(found: Backlog) -> str:
    if found.ready.value is None:
        return "the broker says nothing of it"
    counts = {"ready": found.ready, "in flight": found.in_flight, "delayed": found.delayed, "dead": found.dead}
    said = [f"{count.value:.0f} {name}" for name, count in counts.items() if count.value is not None]
    return ", ".join(said)


def _delays(found: Backlog, handler: Registration | None, options: str) -> Generator[tuple[str, str]]:
    """Signs that nobody handles messages, or that handlers hang."""
    oldest, in_flight = found.oldest.value, found.in_flight.value
    if oldest is None or in_flight is None:
        return
    if found.ready.value and not in_flight and oldest > WAITING:
        run = f"start it (waybill run{options})" if handler else "start the application that consumes it"
        fix = f"{run}; if it runs, its log says why it does not fetch"
        yield f"the oldest message is {duration(oldest)} old, and nobody handles any", fix
    if in_flight and handler and handler.options.timeout and oldest > _longest(handler):
        fix = f"see whether that falls (waybill backlog --watch{options}); if not, more workers, or a handler hangs"
        yield f"the oldest message is {duration(oldest)} old, older than all attempts together may take", fix


def _longest(handler: Registration) -> float:
    """Seconds that a message may take that is fetched at once and fails each time."""
    retry, timeout = handler.options.retry, handler.options.timeout or 0.0
    return max(BEHIND, sum(retry.timeline()) + retry.attempts * timeout)


def of_topics(topics: Iterable[Topic[Any]], registrations: Iterable[Registration]) -> Generator[Finding]:
    """Topics of which no group is known."""
    consumed = {registration.topic.name for registration in registrations}
    for topic in topics:
        if not topic.groups and topic.name not in consumed and not topic.spec.accept_unrouted:
            fix = f'name those who consume it where it is declared: Topic("{topic.name}", …, groups=["…"])'
            trouble = "no group is known: until its first consumer has started, publishing to it is refused"
            yield Finding(f"topic {topic.name}", "", trouble, fix)
