"""What happened on a test bus, told message by message: who published it, each attempt, each fault, and what is left.

#1 orders {"order_id":"o1"}, key c1, id 5c0e1f2a
    +0 s   published
    +0 s   billing, attempt 1: charge raised ConnectionError: away; again in 2 h
    +2 h   published #2 on invoices
    +2 h   billing, attempt 2: charge returned
#2 invoices {"order_id":"o1"}, id 0d6c9b1e
    +2 h   published while #1 was handled
nothing is left
"""

from __future__ import annotations

import asyncio
import time
import traceback
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from waybill.clock import Clock
from waybill.deadletters import shorten
from waybill.errors import HandlerTimeout, Outcome, describe
from waybill.message import Delivery, Message
from waybill.observing import Handled
from waybill.outcomes import Ack, Confirmed, DeadLetter, Defer, Done, Refused, SendResult, Settlement
from waybill.retry import duration
from waybill.testing.served import Handlers

__all__ = ["Story", "without_ours"]

VALUE = 120
"""Bytes of a value that are shown."""
TRACES = 5
"""Tracebacks that are shown: the first of each place."""


@dataclass(slots=True)
class Attempt:
    """One handling, until the broker has answered. `error`: what it raised, once it has `ended`."""

    began: float
    ended: bool = False
    error: BaseException | None = None


@dataclass(slots=True)
class State:
    """What one group has not finished of a message: how many copies, and what they wait for."""

    copies: int = 0
    why: str = "not delivered yet"
    due: float | None = None


@dataclass(slots=True)
class Entry:
    """One message."""

    name: str
    title: str
    lines: list[str] = field(default_factory=list[str])
    states: dict[str, State] = field(default_factory=dict[str, State])


@dataclass(slots=True)
class Raised:
    """One place where handlers raised: the first time, and how often."""

    where: str
    trace: str
    times: int = 0


class Story:
    """Written by the bus while it runs."""

    def __init__(self, clock: Clock, handlers: Handlers) -> None:
        self._clock = clock
        self._start = clock.time()
        self._handlers = handlers
        self._entries: dict[str, Entry] = {}
        self._attempts: dict[Delivery[Any], Attempt] = {}
        self._raised: dict[tuple[object, ...], Raised] = {}
        self.published: list[tuple[str, Message]] = []
        """What the broker has stored, in order, with its topic."""
        self.errors: list[Exception] = []
        """What handlers raised, in order, without what only decides (`Reject`, `RetryAfter`)."""
        self.over = False
        """Nothing more is told: what happens at shutdown is not the test's."""

    # ---------------------------------------------------------------- read

    def __str__(self) -> str:
        if not self._entries:
            return "nothing was published"
        lines = [text for entry in self._entries.values() for text in (entry.title, *entry.lines)]
        left = self.left()
        lines += ["left:", *(f"    {text}" for text in left)] if left else ["nothing is left"]
        for raised in list(self._raised.values())[:TRACES]:
            lines += ["", f"{raised.where}{_again(raised.times - 1)}:", raised.trace.rstrip()]
        return "\n".join(lines)

    def left(self) -> list[str]:
        """What is not finished, and why."""
        return [
            f"{entry.name} for {subscription}: {self._why(ident, subscription, state)}"
            for ident, entry in self._entries.items()
            for subscription, state in entry.states.items()
            if state.copies > 0
        ]

    def _why(self, ident: str, subscription: str, state: State) -> str:
        for delivery, attempt in self._attempts.items():
            if delivery.message.id == ident and _place(delivery) == subscription:
                if attempt.ended:
                    return f"{self._how(subscription, attempt)}; the broker does not know it yet"
                return f"{self._handlers.name(subscription)} has been running for {_since(attempt.began)}"
        if state.due is None:
            return state.why
        return f"{state.why}, due in {duration(max(0.0, state.due - self._clock.time()))}"

    # ---------------------------------------------------------------- publishing

    def sent(self, topic: str, message: Message, result: SendResult) -> None:
        """A publish was decided."""
        if isinstance(result, Confirmed):
            self.stored(topic, message)
        elif isinstance(result, Refused):
            self._published(topic, message, "publish refused", f": {result.reason}")
        else:
            self._published(topic, message, "publish in doubt", f": {result.cause}")

    def stored(self, topic: str, message: Message) -> None:
        """The broker has it, whether or not the publisher knows."""
        self.published.append((topic, message))
        entry = self._published(topic, message, "published")
        for name in self._handlers.places(topic, message):
            state = entry.states.setdefault(name, State())
            state.copies += 1
            state.due = None if message.due is None else message.due.timestamp()

    def _published(self, topic: str, message: Message, what: str, why: str = "") -> Entry:
        entry = self._entry(topic, message)
        parent = self._entries.get(message.causation_id or "")
        if parent is None:
            self._tell(entry, f"{what}{why}")
        else:
            self._tell(entry, f"{what} while {parent.name} was handled{why}")
            self._tell(parent, f"{what}: {entry.name} on {topic}")
        return entry

    # ---------------------------------------------------------------- handling

    def fault(self, place: str, message: Message, text: str, *, due: float | None = None, again: bool = False) -> None:
        """Something went wrong with a delivery. `due`: when it comes; `again`: once more than it would have."""
        entry = self._entry(place.partition("/")[0], message)
        comes = "" if due is None else f"; it comes in {duration(due - self._clock.time())}"
        self._tell(entry, f"fault: {text}{comes}")
        state = entry.states.setdefault(place, State())
        state.copies += again
        state.why, state.due = text, due

    def started(self, delivery: Delivery[Any]) -> None:
        self._attempts[delivery] = Attempt(time.monotonic())
        state = self._entry(delivery.topic, delivery.message).states.setdefault(_place(delivery), State())
        state.copies = max(1, state.copies)

    def ended(self, delivery: Delivery[Any], error: BaseException | None) -> None:
        """The handler returned, or raised `error`."""
        if self.over:
            return
        attempt = self._attempts[delivery]
        attempt.ended, attempt.error = True, error
        if isinstance(error, Exception) and not isinstance(error, Outcome):
            self._remember(delivery, error)

    def handled(self, handled: Handled) -> None:
        """A handling has ended, and the broker has answered."""
        if self.over:
            return
        delivery, settlement = handled.delivery, handled.settlement
        entry = self._entry(delivery.topic, delivery.message)
        attempt = self._attempts.pop(delivery, None)
        if attempt and isinstance(attempt.error, asyncio.CancelledError) and isinstance(settlement, Defer | DeadLetter):
            late = HandlerTimeout("ran longer than its timeout allows")
            attempt.error = late.with_traceback(attempt.error.__traceback__)
            self._remember(delivery, late)
        done = isinstance(handled.result, Done)
        what = _what(settlement, attempt) if done else "; its lease was lost: it comes again"
        self._tell(entry, f"{delivery.group}, attempt {delivery.attempt}: {self._how(_place(delivery), attempt)}{what}")
        state = entry.states.setdefault(_place(delivery), State())
        if done and isinstance(settlement, Ack | DeadLetter):
            state.copies -= 1
        state.why = "it is tried again" if done and isinstance(settlement, Defer) else "not delivered again yet"
        state.due = self._clock.time() + settlement.after if done and isinstance(settlement, Defer) else None

    def _how(self, place: str, attempt: Attempt | None) -> str:
        if attempt is None:
            return "not handled"
        handler = self._handlers.name(place)
        if attempt.error is None:
            return f"{handler} returned"
        if isinstance(attempt.error, asyncio.CancelledError):
            return f"{handler} was cancelled"
        return f"{handler} raised {_one_line(attempt.error)}"

    def _remember(self, delivery: Delivery[Any], error: Exception) -> None:
        self.errors.append(error)
        own = without_ours(error.__traceback__)
        last = own
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        place = (type(error), last and last.tb_frame.f_code, last and last.tb_lineno)
        if place not in self._raised:
            entry = self._entry(delivery.topic, delivery.message)
            where = f"{self._handlers.name(_place(delivery))}, handling {entry.name} (attempt {delivery.attempt})"
            self._raised[place] = Raised(where, "".join(traceback.format_exception(type(error), error, own)))
        self._raised[place].times += 1

    # ---------------------------------------------------------------- inside

    def _entry(self, topic: str, message: Message) -> Entry:
        entry = self._entries.get(message.id)
        if entry is None:
            name = f"#{len(self._entries) + 1}"
            key = "" if message.key is None else f", key {message.key}"
            title = f"{name} {topic} {_value(message)}{key}, id {message.id[:8]}"
            entry = self._entries[message.id] = Entry(name, title)
        return entry

    def _tell(self, entry: Entry, text: str) -> None:
        if not self.over:
            since = duration(self._clock.time() - self._start)
            entry.lines.append(f"    +{since:<7} {text}")


def without_ours(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the service's own code on: what calls it says nothing to a test's author."""
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] == "waybill":
        trace = trace.tb_next
    return trace


def _since(began: float) -> str:
    return duration(time.monotonic() - began)


def _again(times: int) -> str:
    return "" if not times else ", and once more" if times == 1 else f", and {times} times more"


def _place(delivery: Delivery[Any]) -> str:
    return f"{delivery.topic}/{delivery.group}"


def _what(settlement: Settlement, attempt: Attempt | None) -> str:
    """What follows, once the broker has it."""
    if isinstance(settlement, Defer):
        return f"; again in {duration(settlement.after)}"
    if isinstance(settlement, DeadLetter):
        why = settlement.record
        return f"; dead letter: {why.reason}{'' if attempt else f' ({why.detail})'}"
    if isinstance(settlement, Ack):
        return "" if attempt else " again: it was before, and only its acknowledgement was lost"
    return "; given back"


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(shorten(describe(error), VALUE).split())}"


def _value(message: Message) -> str:
    if message.body is None:
        return "(a tombstone)"
    try:
        text = " ".join(message.body.decode().split())
    except UnicodeDecodeError:
        text = repr(message.body)
    return shorten(text, VALUE)
