"""Ways out: what a group's partitions hold, handed out as it is asked for and settled in bulk."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from waybill.adapter import Notify, Resumed, Revoked, Revoking, Stalled
from waybill.message import Delivery
from waybill.outcomes import DONE, LOST, Extended, ExtendResult, Release, Settled, SettleResult
from waybill.topology import Subscription
from waybill_kafka import names, records
from waybill_kafka.client import TopicPartition
from waybill_kafka.cluster import Cluster
from waybill_kafka.member import COMMITTING, Member
from waybill_kafka.part import Part, Token

__all__ = ["KafkaSource"]

PATIENCE = 1.0
"""Seconds that `receive` waits for something."""
JOINING = 3.0
TURN = 32
"""Messages of one partition before the next has its turn."""
TRIAL = 1.0
"""Seconds that a message which may have killed a process is alone, unless it is settled before."""


class KafkaSource:
    """One subscription's member of its group."""

    def __init__(
        self, cluster: Cluster, subscription: Subscription, alias: str, notify: Notify, *, window: int
    ) -> None:
        """`alias`: the group's name on the broker."""
        self._subscription = subscription
        self._notify = notify
        self._window = window
        spec = subscription.topic
        self._topic = names.topic(spec)
        self._inbox = names.inbox(spec, alias)
        parts = (self._inbox,)
        self._member = Member(
            cluster,
            names.group(spec, alias),
            re.compile(names.regex(subscription, parts)) if spec.pattern else (self._topic, *parts),
            _topic_and_number if spec.pattern else _number,
            own=self._inbox,
            session=subscription.lease,
            window=window,
            on_lost=lambda gone: notify(Revoked(gone)),
            on_wanted=self._wanted,
            on_trouble=lambda trouble: notify(Resumed() if trouble is None else Stalled(trouble)),
        )
        self._quiet = False
        self._trial: tuple[Token | None, float] = None, 0.0
        """The last that may have killed a process, and when it was handed out."""

    async def open(self) -> None:
        """Joins its group, and waits for that a little: what is said to have started should get its share."""
        await self._member.open()
        with suppress(TimeoutError):
            async with asyncio.timeout(JOINING):
                await self._member.joined.wait()

    async def quiesce(self) -> None:
        self._quiet = True
        self._member.news.set()

    async def close(self) -> None:
        self._quiet = True
        await self._member.close()

    def _wanted(self, parts: list[Part], deadline: float) -> None:
        self._notify(Revoking(frozenset(part.name for part in parts), deadline))

    # ---------------------------------------------------------------- receiving

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        end = time.monotonic() + PATIENCE
        while not self._quiet and (left := end - time.monotonic()) > 0:
            self._member.news.clear()
            taken, dubious = self._take(limit)
            if dubious and not await self._member.commit(within=COMMITTING):
                self._put_back(taken)
                await asyncio.sleep(0.1)
                continue
            if taken:
                self._member.wake()
                return [delivery for delivery in taken if self._is_ours(delivery.token)] if dubious else taken
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._member.news.wait()
        return ()

    def _take(self, limit: int) -> tuple[list[Delivery[Any]], bool]:
        """What may be handed out now; and whether the broker has to know of these attempts before."""
        taken: list[Delivery[Any]] = []
        dubious = False
        if self._member.frozen:
            return taken, dubious
        lease_until = self._member.ours_until + self._subscription.lease
        parts = [part for part in self._member.parts.values() if part.fetched and part.marked and not part.wanted]
        while parts and len(taken) < limit:
            for part in list(parts):
                alone = part.dubious
                if (alone and self._on_trial()) or part.blocked:
                    parts.remove(part)
                    continue
                many = 1 if alone else min(TURN, limit - len(taken))
                found = part.take(many)
                taken += [self._delivery(part, record, lease_until, alone=alone) for record in found]
                dubious = dubious or (alone and bool(found))
                if not part.fetched or alone:
                    parts.remove(part)
                if len(taken) >= limit:
                    break
        return taken, dubious

    def _delivery(self, part: Part, record: Any, lease_until: float, *, alone: bool) -> Delivery[Any]:
        offset = record.offset
        tries = part.marks.tries.get(offset, 0)
        spec = self._subscription.topic
        topic = record.topic if spec.pattern and record.topic != self._inbox else spec.name
        message = records.read(
            record.key, record.value, record.headers, topic=topic, published=records.when(record.timestamp)
        )
        if spec.pattern and record.topic == self._inbox:
            topic = message.type
        attempts = max(message.attempts, tries)
        delivery: Delivery[Any] = Delivery(
            message=message,
            topic=topic,
            group=self._subscription.group,
            attempt=1 + attempts,
            redelivered=alone or tries > 0,
            lease_until=lease_until,
            partition=part.name,
            token=Token(part, record, tries),
            native=record,
        )
        part.out[offset] = delivery
        if alone:
            part.marks.tries[offset] = 1 + attempts
            self._trial = delivery.token, time.monotonic()
        return delivery

    def _on_trial(self) -> bool:
        """Whether one that may have killed a process runs alone now: were it to do so again, no other must be blamed."""
        token, since = self._trial
        return token is not None and token.settled is None and time.monotonic() - since < TRIAL

    def _put_back(self, taken: Sequence[Delivery[Any]]) -> None:
        for delivery in reversed(taken):
            token: Token = delivery.token
            token.part.settle(token, Release())
            token.part.give_back(token.record)

    def _is_ours(self, token: Token) -> bool:
        return self._member.parts.get(token.part.tp) is token.part

    # ---------------------------------------------------------------- settling

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        late = time.monotonic() > self._member.ours_until
        results: list[SettleResult] = []
        for item in settled:
            token: Token = item.delivery.token
            if token.settled is not None:
                results.append(DONE if token.settled is type(item.settlement) else LOST)
            elif late or not self._is_ours(token):
                results.append(LOST)
            else:
                token.part.settle(token, item.settlement)
                results.append(DONE)
                if isinstance(item.settlement, Release) and not self._quiet:
                    token.part.give_back(token.record)
                    self._member.news.set()
        if late:  # whoever was told so will not settle them any more, though the broker may be heard of again at once
            self._member.presume_lost()
        self._member.wake()
        self._member.settled(len(settled))
        if (trial := self._trial[0]) is not None and trial.settled is not None:
            self._trial = None, 0.0
            self._member.news.set()
        return results

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        """Heartbeats keep all of them; this only asks. When they fail, `Revoked` comes before the lease is over."""
        until = self._member.ours_until + self._subscription.lease
        return [Extended(until) if self._is_ours(delivery.token) else LOST for delivery in deliveries]


def _number(tp: TopicPartition) -> str:
    return str(tp.partition)


def _topic_and_number(tp: TopicPartition) -> str:
    return f"{tp.topic}/{tp.partition}"
