"""What the demo holds against the run: functions from the journal's entries to the faults in them. No input, no output."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from examples.flights.journal import Entry

__all__ = ["Published", "applied_twice", "lost", "out_of_order", "redelivered", "running"]


class Published(NamedTuple):
    """A message the broker has confirmed."""

    id: str
    tail: str | None
    flight: str


def running(entries: Sequence[Entry], pid: int) -> int:
    """How many handlings of process `pid` have begun and not ended."""
    mine = [entry for entry in entries if entry.pid == pid]
    return sum(1 if entry.what == "started" else -1 for entry in mine)


def lost(published: Sequence[Published], entries: Sequence[Entry], dead: Collection[str]) -> list[str]:
    """Flights whose message was neither handled nor is among the `dead` letters (ids)."""
    done = {entry.id for entry in entries if entry.what == "handled"} | set(dead)
    return [message.flight for message in published if message.id not in done]


def out_of_order(published: Sequence[Published], entries: Sequence[Entry]) -> list[str]:
    """Flights whose first handling began before that of the aircraft's flight before had ended, in the order published.

    Later handlings of the same message, after a crash, are no matter: they change nothing.
    """
    began: dict[str, int] = {}
    ended: dict[str, int] = {}
    for entry in entries:
        if entry.what == "started":
            began[entry.id] = min(entry.at, began.get(entry.id, entry.at))
        elif entry.what == "handled":
            ended[entry.id] = min(entry.at, ended.get(entry.id, entry.at))
    lanes: dict[str, list[Published]] = {}
    for message in published:
        if message.tail is not None and message.id in began and message.id in ended:
            lanes.setdefault(message.tail, []).append(message)
    return [
        f"{after.flight} of {after.tail} before {before.flight}"
        for lane in lanes.values()
        for before, after in pairwise(lane)
        if began[after.id] < ended[before.id]
    ]


def redelivered(entries: Sequence[Entry]) -> list[Entry]:
    """Handlings that were followed by another of the same message although they had not failed: the same attempt again.

    Only a process that dies should leave such. One that was cancelled at a shutdown gave its message back. A message that
    was published twice with the same id counts as well.
    """
    began: dict[tuple[str, str, int], list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.at):
        if entry.what == "started":
            began.setdefault((entry.topic, entry.id, entry.attempt), []).append(entry)
    given_back = {(entry.topic, entry.id, entry.attempt, entry.pid) for entry in entries if entry.what == "cancelled"}
    return [
        entry for same, handlings in began.items() for entry in handlings[:-1] if (*same, entry.pid) not in given_back
    ]


def applied_twice(
    published: Sequence[Published], entries: Sequence[Entry], counted: Mapping[str, int]
) -> list[tuple[str, int]]:
    """Aircraft that the projection counted more flights of (`counted`) than were handled, and how many too many."""
    done = {entry.id for entry in entries if entry.what == "handled"}
    handled = Counter(message.tail for message in published if message.id in done)
    return [(tail, count - handled[tail]) for tail, count in counted.items() if count > handled[tail]]
