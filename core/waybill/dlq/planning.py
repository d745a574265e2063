"""What a redrive would do, before it does anything: how many, where to, what speaks against it, and how long it takes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, TypeAlias

import msgspec

from waybill.codec import Lacking
from waybill.dlq.index import Index
from waybill.dlq.model import CLAIMABLE, Letter, Query, State
from waybill.dlq.operation import Orders
from waybill.errors import CodecUnavailable, DecodeError, one_line
from waybill.history import KeepsHistory, Stretch
from waybill.letters import BATCH
from waybill.message import Message
from waybill.redaction import redact, secrets_of
from waybill.topic import Readable
from waybill.topology import Destination, Subscription

__all__ = ["Check", "Left", "Plan", "checking", "plan", "sifted"]

Check: TypeAlias = Callable[[Message], Awaitable[str | None]]
"""Why a message cannot be read by today's contract; `None`: it can."""

Left: TypeAlias = Literal["claimed", "expired", "worn", "unfit"]

SHOWN_STATES = CLAIMABLE | {State.REDRIVING}
"""And what is claimed already, which is counted."""
PAGE = 2000
"""Letters looked at together: to find the way to a page takes as long as hundreds of its letters."""
ROUNDS = 8
"""Answers that the decoding of one message may need."""
READ = 100_000
"""Messages of a topic's history that a plan looks at."""
OLD = timedelta(days=1)
"""A letter older than this is about a world that may have moved on."""
SHOWN = 3


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What would become of one group's dead letters."""

    topic: str
    group: str
    to: str
    """Where the copies would go: `topic/group`, or `topic` for all of its groups."""
    found: int = 0
    """Like what was asked for; of these …"""
    count: int = 0
    """… would be moved, and these left:"""
    expired: int = 0
    worn: int = 0
    """Redriven so often that only force moves them once more (`redrive_limit`)."""
    unfit: int = 0
    """The topic's codec of today cannot read them."""
    claimed: int = 0
    """In another operation."""
    beyond: int = 0
    """More than `Orders.limit`."""
    oldest: datetime | None = None
    """Dead-lettered first, of those that would be moved."""
    behind: int = 0
    """Would come behind a later message of their key that is known: another dead letter, or one in the topic's history."""
    reasons: dict[str, int] = {}
    """How many of those that would be moved, by reason."""
    causes: tuple[str, ...] = ()
    """Why some are unfit, the first few."""
    seconds: float | None = None
    """That it takes at the rate asked for; `None`: as long as the broker takes."""
    warnings: tuple[str, ...] = ()
    """What somebody should know who does it, in words."""

    @property
    def left(self) -> int:
        """How many that were asked for would stay, but for those beyond the limit."""
        return self.expired + self.worn + self.unfit + self.claimed


def checking(topic: Readable[Any], marked: Collection[str] = ()) -> Check:
    """A check by the topic's codec. It raises `CodecUnavailable` when it must ask somebody who does not answer.

    marked: names of headers and fields that are secret as well (`Settings.redact`).
    """

    def cause(error: BaseException, message: Message) -> str:
        return one_line(error, partial(redact, values=secrets_of(message, marked)))

    async def check(message: Message) -> str | None:
        for _ in range(ROUNDS):
            try:
                topic.decode(message)
            except Lacking as lacking:
                try:
                    await lacking.fetch()
                except CodecUnavailable:
                    raise
                except DecodeError as error:
                    return cause(error, message)
            except Exception as error:  # noqa: BLE001 - whatever a codec of the user's raises is why it cannot be read
                return cause(error, message)
            else:
                return None
        return f"after {ROUNDS} answers decoding still lacks something"

    return check


async def plan(
    index: Index,
    subscription: Subscription,
    query: Query,
    orders: Orders,
    *,
    to: Destination | None = None,
    check: Check | None = None,
    history: KeepsHistory | None = None,
    again: bool = True,
) -> Plan:
    """Say what a redrive of those of the group's letters would do, as the index has them: collect them first. Changes nothing.

    query: its topic and group are the subscription's, and of its states only what can be claimed counts. to: where the
    copies go; `None`: back to the group. check: by the topic's contract of today. history: where the broker lets anybody
    read what the topic keeps: later messages of a key are looked for there. again: they would be handled once more; else its
    warnings say only which are left. Raises `BrokerError`.
    """
    tally, reasons, causes = Counter[str](), Counter[str](), list[str]()
    oldest: datetime | None = None
    keys: dict[str, datetime] = {}
    behind = _Behind()
    async for letter, left, cause in sifted(index, subscription, query, orders, check):
        tally["found"] += 1
        going = left is None and (orders.limit is None or tally["count"] < orders.limit)
        behind.see(letter, going=going)
        if left is not None:
            tally[left] += 1
            if cause and len(causes) < SHOWN:
                causes.append(cause)
        elif not going:
            tally["beyond"] += 1
        else:
            tally["count"] += 1
            reasons[letter.record.reason] += 1
            oldest = letter.record.at if oldest is None else min(oldest, letter.record.at)
            if letter.message_key is not None:
                keys[letter.message_key] = max(letter.record.at, keys.get(letter.message_key, letter.record.at))
    if history is not None and keys:
        behind.keys |= await _newer(history, subscription, keys)
    made = Plan(
        topic=subscription.topic.name,
        group=subscription.group,
        to=subscription.name if to is None else to.name,
        found=tally["found"],
        count=tally["count"],
        expired=tally["expired"],
        worn=tally["worn"],
        unfit=tally["unfit"],
        claimed=tally["claimed"],
        beyond=tally["beyond"],
        oldest=oldest,
        behind=behind.count,
        reasons=dict(reasons),
        causes=tuple(causes),
        seconds=None if orders.rate is None else tally["count"] / orders.rate,
    )
    against = _against(made, subscription, to, orders) if again else []
    return msgspec.structs.replace(made, warnings=(*against, *_leaves(made, orders)))


async def sifted(
    index: Index, subscription: Subscription, query: Query, orders: Orders, check: Check | None
) -> AsyncGenerator[tuple[Letter, Left | None, str], None]:
    """The letters that `query` asks for, oldest first, and why each is left where it is; `None`: it may go."""
    states = (query.states or SHOWN_STATES) & SHOWN_STATES
    if not states:
        return
    query = msgspec.structs.replace(query, topic=subscription.topic.name, group=subscription.group, states=states)
    now = datetime.now(UTC)
    after: str | None = None
    while True:
        page = await asyncio.to_thread(index.page, query, after=after, limit=PAGE, oldest_first=True)
        for letter in page.letters:
            left = _left(letter, orders, now)
            cause: str | None = None
            if left is None and check is not None and not orders.force:
                message = index.message(letter.key)
                cause = None if message is None else await check(message)
                left = None if cause is None else "unfit"
            yield letter, left, cause or ""
        after = page.after
        if after is None:
            return


def _left(letter: Letter, orders: Orders, now: datetime) -> Left | None:
    if letter.state not in CLAIMABLE:
        return "claimed"
    if letter.expires is not None and letter.expires < now and not orders.expired:
        return "expired"
    if letter.redrives >= orders.most_redrives and not orders.force:
        return "worn"
    return None


class _Behind:
    """Counts those that would go though a later dead letter of their key stays, or a later message of it was handled."""

    def __init__(self) -> None:
        self._going: Counter[str] = Counter()
        self.keys: set[str] = set()
        """Keys of which something later is known."""

    def see(self, letter: Letter, *, going: bool) -> None:
        """Oldest first."""
        key = letter.message_key
        if key is None:
            return
        if going:
            self._going[key] += 1
        elif key in self._going:
            self.keys.add(key)

    @property
    def count(self) -> int:
        return sum(self._going[key] for key in self.keys)


async def _newer(history: KeepsHistory, subscription: Subscription, keys: dict[str, datetime]) -> set[str]:
    """Of which of these keys the topic has kept a message that was published after their last dead letter was made."""
    found: set[str] = set()
    async with history.past(subscription, Stretch(since=min(keys.values()))) as past:
        read = 0
        while read < READ and (deliveries := await past.read(BATCH)) is not None:
            read += len(deliveries)
            for delivery in deliveries:
                key, time = delivery.message.key, delivery.message.time
                if key is not None and key in keys and time > keys[key]:
                    found.add(key)
    return found


def _against(made: Plan, subscription: Subscription, to: Destination | None, orders: Orders) -> list[str]:
    told: list[str] = []
    if made.behind:
        told.append(
            f"{made.behind} would come behind later messages of their keys: what they say may be out of date by now"
        )
    elif subscription.ordered and made.count:
        told.append(
            f"{subscription.name} is consumed ordered; a redriven message goes to the end of its key's line, behind later ones"
        )
    if made.oldest is not None and (age := datetime.now(UTC) - made.oldest) > OLD:
        told.append(f"the oldest has been a dead letter for {age.days} d: is what it asks for still wanted?")
    if to is not None and to.kind == "topic":
        told.append(f"every group of {to.topic.name} would get them, also those that have handled them")
    if to is not None and to.topic.dedup_window and to.kind == "topic":
        told.append(
            f"{to.topic.name} keeps one message an id for {to.topic.dedup_window:g} s: what it has seen is confirmed, not stored"
        )
    if orders.limit is None and orders.rate is None and orders.canary == 0 and made.count > BATCH:
        told.append("all at once, as fast as the broker takes them: --canary 10 shows first whether they still fail")
    return told


def _leaves(made: Plan, orders: Orders) -> list[str]:
    told: list[str] = []
    if made.expired:
        told.append(f"{made.expired} have expired and are left: nobody would handle them")
    if made.worn:
        told.append(
            f"{made.worn} came back {orders.most_redrives} times or more and are left (redrive_limit): mend what fails, then "
            f"use --force"
        )
    if made.unfit:
        told.append(f"{made.unfit} cannot be read by the topic's codec of today and are left: {'; '.join(made.causes)}")
    if made.claimed:
        told.append(f"{made.claimed} are in another operation and are left: see `waybill dlq operations`")
    return told
