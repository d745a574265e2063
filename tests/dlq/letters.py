"""Dead letters for the tests of the index."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from waybill.dlq.index import Index
from waybill.dlq.model import Action, Key, Query, State
from waybill.ids import new_id
from waybill.message import DeadLetterRecord, Message

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
JOE = Action(by="joe", why="the bank was down")
ANY = frozenset[State]()


def letter(n: int, *, ago: float | None = None, visit: str | None = None, **given: Any) -> Message:
    """The n-th, dead-lettered n seconds before `NOW` or `ago`. Of `given` what a record has goes there."""
    in_record = {name: given.pop(name) for name in tuple(given) if name in DeadLetterRecord.__struct_fields__}
    record: dict[str, Any] = {
        "id": new_id() if visit is None else visit,
        "reason": "retries_exhausted",
        "topic": "orders",
        "group": "billing",
        "attempts": 3,
        "at": NOW - timedelta(seconds=n if ago is None else ago),
        "error": "shop.bank.Timeout",
        "frame": "shop.bank:charge",
        "detail": f"no answer for order {n}",
    }
    message: dict[str, Any] = {
        "id": f"m-{n}",
        "body": b'{"order": %d}' % n,
        "type": "orders",
        "source": "shop",
        "time": NOW - timedelta(hours=1),
        "key": f"customer-{n % 3}",
    }
    return Message(**(message | given), dead=DeadLetterRecord(**(record | in_record)))


def again(before: Message, *, ago: float = 0.0, **in_record: Any) -> Message:
    """The same message, redriven and dead-lettered once more."""
    assert before.dead is not None
    at = NOW - timedelta(seconds=ago)
    record = msgspec.structs.replace(before.dead, **({"id": new_id(), "at": at} | in_record))
    return msgspec.structs.replace(before, redrives=before.redrives + 1, dead=record)


def put(index: Index, messages: Sequence[Message]) -> None:
    index.record("orders", "billing", messages, now=NOW)


def key(n: int) -> Key:
    return Key("orders", "billing", f"m-{n}")


def found(index: Index, limit: int = 1000, **query: Any) -> list[str]:
    return [each.key.id for each in index.page(Query(**query), limit=limit).letters]


def walk(index: Index, query: Query, *, limit: int, oldest_first: bool = False) -> list[str]:
    """Page by page."""
    ids: list[str] = []
    after: str | None = None
    while True:
        page = index.page(query, after=after, limit=limit, oldest_first=oldest_first)
        assert len(page.letters) <= limit
        ids += [each.key.id for each in page.letters]
        after = page.after
        if after is None:
            return ids


def states(index: Index) -> dict[State, int]:
    """Those of the one group, without zeros."""
    return {state: count for state, count in index.tally().get(("orders", "billing"), {}).items() if count}
