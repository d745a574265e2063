"""What lies before each group and among its dead letters, as the brokers and the index of dead letters say.

Read by a process of its own (`waybill exporter`): consumers that have died must not take the evidence with them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from waybill.adapter import Admin
from waybill.dlq.index import Index
from waybill.dlq.model import State
from waybill.errors import BrokerError, ConfigurationError
from waybill.telemetry import catalogue
from waybill.telemetry.tally import Metric, Reading
from waybill.topology import Backlog, Count, Exactness, Subscription

__all__ = ["Exporter"]

log = logging.getLogger("waybill.exporter")

Labels = tuple[str, ...]
Values = list[tuple[Labels, float]]
Indexed = tuple[Mapping[tuple[str, str], Mapping[State, int]], list[tuple[tuple[str, str], datetime | None]]]

PATIENCE = 10.0
"""Seconds to wait for what the broker says of one group."""
IN_THE_LETTERS = (State.UNRESOLVED, State.TRIAGED, State.REDRIVING)
"""Where a letter in these states lies among those of its group."""


class Exporter:
    """The figures of the last look at each broker. `collect` tells them as long as they are not older than `keep`."""

    def __init__(
        self,
        *,
        keep: float,
        objective: float,
        consumed: Sequence[tuple[str, str]] = (),
        index: Path | None = None,
        brokers: Iterable[str | None] = (None,),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """keep, objective: seconds; the latter the age that no message should reach. consumed: topics and groups that should
        have a consumer. index: the file of that of the dead letters; while there is none, all of them count as unresolved.
        brokers: the names of those that are looked at, each by itself: one that is silent takes its own figures away. clock: tells how old a look is."""
        self._keep = keep
        self._objective = objective
        self._consumed = consumed
        self._index = index
        self._clock = clock
        self._shares = dict.fromkeys(brokers, _NEVER)
        self._unread = False
        """Whether the index could not be read the last time."""

    async def look(self, admin: Admin, subscriptions: Sequence[Subscription], *, broker: str | None = None) -> None:
        """Ask this broker for each of the subscriptions, as they are declared, and the index. Raises `BrokerError`, and
        `TimeoutError` where one call is not answered within `PATIENCE`."""
        began = self._clock()
        wholes = [await _whole(admin, each) for each in subscriptions]
        found, now = [*_backlogs(wholes), *self._letters(wholes)], self._clock()
        stale = now + (now - began) + self._keep  # the next look may take as long
        self._shares[broker] = _Share(up=True, looked=time.time(), stale=stale, found=found)

    def has_looked(self, broker: str | None = None) -> bool:
        """Whether a look at this broker has succeeded."""
        return self._shares[broker].looked > 0

    def missed(self, broker: str | None = None) -> None:
        """A look has failed."""
        self._shares[broker] = self._shares[broker]._replace(up=False)

    def collect(self) -> Iterator[Reading]:
        """May be called in any thread."""
        shares = list(self._shares.values())
        yield Reading(catalogue.BROKER_UP, [((), float(all(share.up for share in shares)))])
        yield Reading(catalogue.LOOKED, [((), min(share.looked for share in shares))])
        yield Reading(catalogue.EXPECTED, [(group, 1.0) for group in self._consumed])
        yield Reading(catalogue.OBJECTIVE, [(group, self._objective) for group in self._consumed])
        now = self._clock()
        yield from _together(reading for share in shares if now <= share.stale for reading in share.found)

    def _letters(self, wholes: Sequence[Whole]) -> Iterator[Reading]:
        indexed = self._indexed(wholes)
        if indexed is None:
            figures = [((*whole.labels, State.UNRESOLVED.value), whole.figure(_dead)) for whole in wholes]
            yield Reading(catalogue.DLQ, [(labels, figure) for labels, figure in figures if figure is not None])
            return
        tally, oldest = indexed
        dead: Values = []
        for whole in wholes:
            states = [_with_unseen(tally.get(_place(each), {}), _figure(each.dead) or 0.0) for each in whole.shares]
            dead += [((*whole.labels, state.value), sum(each[state] for each in states)) for state in State]
        yield Reading(catalogue.DLQ, dead)
        now = datetime.now(UTC)
        ages = [(group, (now - since).total_seconds() if since else 0.0) for group, since in oldest]
        yield Reading(catalogue.DLQ_OLDEST, [(group, max(0.0, age)) for group, age in ages])

    def _indexed(self, wholes: Sequence[Whole]) -> Indexed | None:
        """What the index says, if there is one that can be read: the figures of the broker do not depend on it."""
        if self._index is None or not self._index.exists():
            return None
        try:
            with Index.open(self._index, create=False) as index:
                found = index.tally(), [(whole.labels, _oldest(index, whole)) for whole in wholes]
        except (BrokerError, ConfigurationError) as error:
            if not self._unread:
                log.warning("the index cannot be read, so that all dead letters count as unresolved: %s", error)
            self._unread = True
            return None
        self._unread = False
        return found


class _Share(NamedTuple):
    """What is known of one broker."""

    up: bool
    """Whether the last look succeeded."""
    looked: float
    """When one last did, in seconds since the epoch; 0: never."""
    stale: float
    """When the figures are too old, on the exporter's clock."""
    found: Sequence[Reading]


_NEVER = _Share(up=False, looked=0.0, stale=float("-inf"), found=())


def _together(readings: Iterable[Reading]) -> Iterator[Reading]:
    """Each metric once, with the values of all brokers."""
    found: dict[str, tuple[Metric, list[Any]]] = {}
    for metric, values in readings:
        found.setdefault(metric.name, (metric, []))[1].extend(values)
    for metric, values in found.values():
        yield Reading(metric, values)


class Whole(NamedTuple):
    """A subscription as it is declared, and its shares: one, or where a pattern has a group at each topic as many as there are.

    All is told of the whole: under the name of a share nobody consumes, settles or has an objective.
    """

    subscription: Subscription
    shares: Sequence[Backlog]

    @property
    def labels(self) -> tuple[str, str]:
        return self.subscription.topic.name, self.subscription.group

    def figure(
        self, of: Callable[[Backlog], float | None], together: Callable[[Iterable[float]], float] = sum
    ) -> float | None:
        """`None`: of one of them the broker cannot say."""
        figures = [of(share) for share in self.shares]
        known = [figure for figure in figures if figure is not None]
        return together(known or [0.0]) if len(known) == len(figures) else None


async def _whole(admin: Admin, subscription: Subscription) -> Whole:
    shares = await asyncio.wait_for(admin.expand(subscription), PATIENCE)
    return Whole(subscription, [await asyncio.wait_for(admin.backlog(each), PATIENCE) for each in shares])


def _backlogs(wholes: Sequence[Whole]) -> Iterator[Reading]:
    """A figure that the broker cannot tell is left out: it is not zero."""
    yield _known(catalogue.READY, wholes, lambda whole: whole.figure(lambda each: _figure(each.ready)))
    yield _known(catalogue.DELAYED, wholes, lambda whole: whole.figure(lambda each: _figure(each.delayed)))
    yield _known(catalogue.OLDEST, wholes, lambda whole: whole.figure(lambda each: _figure(each.oldest), max))
    yield _known(catalogue.BACKLOG, wholes, lambda whole: whole.figure(_backlog))
    yield _known(catalogue.BACKLOG_LIMIT, wholes, lambda whole: whole.subscription.topic.max_length)
    yield _known(
        catalogue.APPROXIMATE,
        wholes,
        lambda whole: any(each.ready.exactness is Exactness.APPROXIMATE for each in whole.shares),
    )


def _backlog(each: Backlog) -> float | None:
    ready = _figure(each.ready)
    return None if ready is None else ready + (_figure(each.in_flight) or 0.0)


def _dead(each: Backlog) -> float | None:
    return _figure(each.dead)


def _figure(count: Count) -> float | None:
    """`None`: the broker cannot say."""
    return None if count.exactness is Exactness.UNKNOWN else count.value or 0.0


def _known(metric: Metric, wholes: Sequence[Whole], figure: Callable[[Whole], float | None]) -> Reading:
    values = [(whole.labels, figure(whole)) for whole in wholes]
    return Reading(metric, [(labels, float(value)) for labels, value in values if value is not None])


def _oldest(index: Index, whole: Whole) -> datetime | None:
    return min((since for each in whole.shares if (since := index.oldest(*_place(each))) is not None), default=None)


def _with_unseen(states: Mapping[State, int], dead: float) -> dict[State, float]:
    """What the broker has and the index has not seen yet is unresolved: nobody can have looked at it."""
    found = {state: float(states.get(state, 0)) for state in State}
    found[State.UNRESOLVED] += max(0.0, dead - sum(found[state] for state in IN_THE_LETTERS))
    return found


def _place(each: Backlog) -> tuple[str, str]:
    return each.subscription.topic.name, each.subscription.group
