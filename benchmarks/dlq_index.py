"""The index of dead letters with a million of them: how long a page takes, by whichever question, and how they get in.

Of 25 groups of consumers, and failures that are as uneven as they are in life: the commonest is a third of all, the rarest a
handful. A question is asked for its first page and for the one after, with the file in the system's cache; what is told is the
slowest of these, by the wall clock.
"""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from statistics import median

from benchmarks.harness import Row, Run, alone
from waybill.dlq.index import Index
from waybill.dlq.model import Action, Key, Query, State
from waybill.ids import new_id
from waybill.message import DeadLetterRecord, Message

__all__ = ["measure"]

LETTERS = 1_000_000
CHUNK = 2_500
PLACES = 25
FAILURES = 300
WORDS = [
    "declined",
    "refused",
    "timeout",
    "closed",
    "missing",
    "invalid",
    "duplicate",
    "stale",
    "locked",
    "unknown",
    "overdrawn",
    "blocked",
    "late",
]
NOW = datetime(2026, 11, 1, tzinfo=UTC)
MONTH = 30 * 86_400.0
STACK = '  File "/srv/shop/bank.py", line 17, in charge\n    raise Timeout(order)\n' * 12
BY = Action(by="benchmark", why="measuring")
MOST_MS = 200
"""The target for a page."""


def measure(run: Run) -> list[Row]:
    """Milliseconds a page."""
    count = run.messages(LETTERS)
    path = run.folder / "letters.db"
    with Index.open(path) as index:
        began = time.perf_counter()
        _fill(index, count)
        seconds = time.perf_counter() - began
        grown = _memory()
        _look_again(index, count)
        grown = _memory() - grown
        rows = [
            alone(f"{count:,} dead letters into the index", "letters/s wall", count / seconds),
            alone("bytes of the file for each", "B", path.stat().st_size / count),
            alone("memory for a look at all of them", "MiB more", grown / 1024, at_most=64),
        ]
        for name, ask in _questions(index):
            rows.append(alone(f"{name}, of {count:,}", "ms a page", _slowest(ask, run.rounds), at_most=MOST_MS))
    return rows


def _questions(index: Index) -> Generator[tuple[str, Callable[[str | None], str | None]], None, None]:
    done = frozenset({State.DISCARDED})
    queries = {
        "list all that is open": Query(),
        "list one group's": Query(topic="topic-7", group="group-2"),
        "list a rare reason": Query(reason="decode_error"),
        "list a rare state of a common failure": Query(states=done, reason="retries_exhausted"),
        "list a rare owner": Query(owner="ann"),
        "list by what is not there": Query(topic="topic-7", reason="decode_error", owner="joe"),
        "list by what is not there, though each part of it is common": Query(
            topic="topic-0", owner="", states=frozenset({State.TRIAGED})
        ),
        "list an old hour": Query(since=NOW - timedelta(seconds=MONTH), before=NOW - timedelta(seconds=MONTH - 3600)),
        "search for a word of all": Query(text="order"),
        "search for two words": Query(text="overdrawn late"),
        "search for a rare word": Query(text="order-123456"),
        "search for a beginning": Query(text="order-1234*"),
        "search for a word of all, in a rare state": Query(text="order", states=done),
    }
    for name, query in queries.items():
        yield name, lambda after, query=query: index.page(query, after=after).after  # type: ignore[misc]
    yield "group all that is open", lambda after: index.groups(Query(), after=after).after
    yield "group one group's", lambda after: index.groups(Query(topic="topic-7"), after=after).after
    yield "figures of all groups", lambda _: str(index.tally()) and None
    yield "the oldest of a group", lambda _: str(index.oldest("topic-7", "group-2")) and None


def _slowest(ask: Callable[[str | None], str | None], rounds: int) -> float:
    def once(after: str | None) -> tuple[float, str | None]:
        began = time.perf_counter()
        after = ask(after)
        return (time.perf_counter() - began) * 1e3, after

    firsts, seconds = list[float](), list[float]()
    for _ in range(rounds):
        spent, after = once(None)
        firsts.append(spent)
        if after is not None:
            seconds.append(once(after)[0])
    return max(median(firsts), median(seconds) if seconds else 0.0)


def _fill(index: Index, count: int) -> None:
    chance = random.Random(1)
    for start in range(0, count, CHUNK):
        by_place: dict[tuple[str, str], list[Message]] = {}
        for number in range(start, min(count, start + CHUNK)):
            place = _place(number)
            by_place.setdefault(place, []).append(_letter(number, place, chance, count))
        with index.database.writing():
            for place, letters in by_place.items():
                index.record(*place, letters, now=NOW)
    some = [Key(*_place(number), f"order-{number}") for number in range(0, count, 997)]
    index.review(some, State.DISCARDED, BY, now=NOW)
    index.review([key for key in some if _place(0) == key[:2]], State.UNRESOLVED, BY, now=NOW)
    owned = [Key(*_place(number), f"order-{number}") for number in range(1, count, 9973)]
    index.review(owned, State.TRIAGED, BY, owner="ann", now=NOW)
    many = [Key(*_place(number), f"order-{number}") for number in range(2, count, 4)]
    index.review(many, State.TRIAGED, BY, owner="joe", now=NOW)


def _look_again(index: Index, count: int) -> None:
    """At what is known already, as a collector does each time."""
    chance = random.Random(1)
    look = index.look(*_place(0), now=NOW)
    for start in range(0, count, CHUNK * PLACES):
        numbers = range(start, min(count, start + CHUNK * PLACES), PLACES)
        look.record([_letter(number, _place(0), chance, count) for number in numbers], now=NOW)
    look.end(complete=False, now=NOW)


def _place(number: int) -> tuple[str, str]:
    return f"topic-{number % PLACES}", f"group-{number % PLACES % 5}"


def _letter(number: int, place: tuple[str, str], chance: random.Random, count: int) -> Message:
    failure = int(FAILURES ** chance.random()) - 1
    poison = failure > FAILURES * 0.99
    words = " ".join(chance.choices(WORDS, k=3))
    at = NOW - timedelta(seconds=MONTH * (count - number) / count)
    record = DeadLetterRecord(
        id=f"{number:032d}",
        reason="decode_error" if poison else "retries_exhausted",
        disposition="poison" if poison else "transient_exhausted",
        topic=place[0],
        group=place[1],
        attempts=5,
        at=at,
        error=f"shop.errors.Failure{failure}",
        frame=f"shop.bank:charge_{failure}",
        detail=f"the bank says {words} of order-{number}",
        stack=STACK,
    )
    return Message(
        id=f"order-{number}",
        body=b'{"order": "order-%d", "customer": "%s", "lines": [{"sku": "A-17", "quantity": 3}]}'
        % (number, new_id().encode()),
        type=place[0],
        source="shop",
        time=at,
        key=f"customer-{number % 5000}",
        headers={"region": ("eu", "us", "asia")[number % 3]},
        dead=record,
    )


def _memory() -> float:
    """KiB, at its most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
