"""The choice of a broker as a decision record, in the form of MADR 4. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from waybill.abilities import size
from waybill.errors import ConfigurationError
from waybill.evidence import shown
from waybill.needs import Asked, Need
from waybill.retry import duration
from waybill.weighing import Option, Served

__all__ = ["Decision", "record"]

MONTH = 30 * 86_400
NOT_SAID = "not said"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the record says besides what follows from the code."""

    date: str
    reference: str
    """The application, as `module:attribute`."""
    chosen: str | None = None
    """The name of an option; `None` leaves it to the architect."""
    because: str | None = None
    price: float | None = None
    """Of a million calls, in whatever currency."""


def record(
    app: Asked, needs: Sequence[Need], options: Sequence[Option], absent: Mapping[str, str], decision: Decision
) -> str:
    """The whole text. absent: brokers that could not be weighed, and why. Raises `ConfigurationError`."""
    chosen = _chosen(options, decision)
    parts = [
        f"---\nstatus: {'accepted' if chosen else 'proposed'}\ndate: {decision.date}\n---",
        f"# The broker of {app.application}",
        *_context(app, decision),
        "## Decision Drivers",
        _items([*(f"{need.ability}: {need.by}" for need in needs), _load(app)]),
        "## Considered Options",
        _items([f"{option.broker} (`{option.name}`)" for option in options]),
        *(f"Not considered: `{name}`, since {why}." for name, why in absent.items()),
        "## Decision Outcome",
        *_outcome(app, options, chosen, decision),
        "## Pros and Cons of the Options",
        *(part for option in options for part in _option(app, option, decision)),
        "## More Information",
        *_sources(options),
    ]
    return "\n\n".join(parts) + "\n"


def _chosen(options: Sequence[Option], decision: Decision) -> Option | None:
    if decision.chosen is None:
        return None
    found = {option.name: option for option in options}
    if decision.chosen not in found:
        raise ConfigurationError(f"--decide {decision.chosen}: that is none of the options: {', '.join(found)}")
    return found[decision.chosen]


def _context(app: Asked, decision: Decision) -> Iterator[str]:
    yield "## Context and Problem Statement"
    yield (
        f"On which broker is `{app.application}` to run? Its code names none: the choice is configuration. What the choice has "
        f"to serve was read from `{decision.reference}` by `waybill adr broker`:"
    )
    lines = ["| topic | groups | key | consumed here by |", "| --- | --- | --- | --- |"]
    for topic in app.topology.topics:
        by = [
            f"{one.subscription.group}{', in order' if one.subscription.ordered else ''}"
            for one in app.registrations
            if one.subscription.topic.name == topic.name
        ]
        groups = ", ".join(app.groups(topic)) or "none by contract"
        lines.append(
            f"| `{topic.name}` | {groups} | {'yes' if topic.ordered else 'no'} | {'; '.join(by) or 'nobody'} |"
        )
    yield "\n".join(lines)


def _load(app: Asked) -> str:
    load = app.load
    said = {
        "messages a second to each topic": None if load.rate is None else f"{load.rate:g}",
        "a usual message": None if load.size is None else size(load.size),
        "machines": None if load.machines is None else str(load.machines),
        "the largest": None if load.largest is None else size(load.largest),
        "the longest delay of a publish": None if load.delay is None else duration(load.delay),
    }
    return "load: " + ", ".join(f"{what} {value or NOT_SAID}" for what, value in said.items())


def _outcome(app: Asked, options: Sequence[Option], chosen: Option | None, decision: Decision) -> Iterator[str]:
    if chosen is None:
        yield "Left to the architect. `waybill adr broker --decide NAME` records it."
        yield _items([f"{option.broker}: {_summary(option)}" for option in options])
        yield "### Consequences"
        yield "They follow the choice: of each option, what is below as bad or neutral."
    else:
        why = decision.because or _reason(chosen)
        yield f'Chosen option: "{chosen.broker}", because {why}.'
        yield "### Consequences"
        yield _items(_consequences(app, chosen, decision))
    yield "### Confirmation"
    yield (
        f"`waybill explain --app {decision.reference}` says for the broker that is configured what becomes of each message, and "
        f"the application refuses to start on one that cannot serve it. `make conformance` shows the promises anew."
    )


def _summary(option: Option) -> str:
    if option.gaps:
        return f"does not serve it as it is: {len(option.gaps)} {_things(option.gaps)} to change"
    weaker = option.of("emulated")
    if not weaker:
        return "serves all of it by itself"
    return f"serves all of it; weaker are {', '.join(one.ability.name for one in weaker)}"


def _things(gaps: Sequence[str]) -> str:
    return "thing" if len(gaps) == 1 else "things"


def _reason(chosen: Option) -> str:
    if chosen.fits:
        return "it serves everything that the application asks for"
    return "it was decided so, though something has to change for it"


def _consequences(app: Asked, chosen: Option, decision: Decision) -> Iterator[str]:
    if own := chosen.of("native"):
        names = ", ".join(one.ability.name for one in own)
        yield f"Good, because the broker itself keeps: {names}"
    for one in chosen.of("emulated"):
        yield f"Neutral, because of {one.ability.name}: {one.ability.words}"
    yield f"Neutral, because messages are limited to {chosen.limits}"
    for gap in chosen.gaps:
        yield f"Bad, because something has to change first: {gap}"
    yield from _cost(app, chosen, decision)


def _option(app: Asked, option: Option, decision: Decision) -> Iterator[str]:
    yield f"### {option.broker}"
    lines = [f"Good, because of {_told(one)}" for one in option.of("native")]
    lines += [f"Neutral, because of {_told(one)}" for one in option.of("emulated")]
    lines += [f"Bad, because of {_told(one)}" for one in option.of("refused")]
    lines += [f"Bad, because something has to change first: {gap}" for gap in option.gaps]
    lines += _cost(app, option, decision)
    yield _items(lines)


def _told(one: Served) -> str:
    words = f": {one.ability.words}" if one.ability.words else ""
    return f"{one.ability.name}{words} ({one.evidence})"


def _cost(app: Asked, option: Option, decision: Decision) -> Iterator[str]:
    if not option.calls:
        yield "Neutral, because nothing is paid by the call"
        return
    for calls in option.calls:
        idle = f", and {calls.idle_per_day:,.0f} a day while nothing happens" if calls.idle_per_day else ""
        yield f"Neutral, because of calls: {calls.what}: {calls.per_million:,.0f} a million messages{idle}"
    if app.load.rate is None:
        return
    millions = app.load.rate * MONTH / 1e6
    total = sum(calls.per_million * millions + calls.idle_per_day * 30 for calls in option.calls) / 1e6
    cost = (
        "" if decision.price is None else f", which cost {total * decision.price:,.2f} at {decision.price:g} a million"
    )
    yield f"Bad, because {app.load.rate:g} messages a second make {total:,.1f} million calls in 30 days{cost}"


def _sources(options: Sequence[Option]) -> Iterator[str]:
    yield (
        "Good is what the broker does by itself, neutral what is done for it by a weaker means, bad what it cannot do. The letters "
        "in brackets are promises, each a test that ran against the broker:"
    )
    used = {promise: None for option in options for one in option.served for promise in one.ability.promises}
    yield _items([f"{promise}: {shown().promises[promise]}" for promise in sorted(used)])
    ran = [
        f"{column.broker} in version {column.version or 'unknown'}, {column.provider}"
        for option in options
        for column in shown().columns.get(option.name, [])
    ]
    yield f"They ran on {'; '.join(ran)}."


def _items(lines: Iterator[str] | Sequence[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)
