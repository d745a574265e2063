"""One member of a group: its consumer, the partitions it has, and what it commits.

the library's rebalance: revoked ─▶ (commit) ─▶ claim ─▶ … ─▶ share ─▶ assigned
what we kept goes on as if nothing had been; what is new is adopted: its note is read, then it is fetched from;
what is wanted elsewhere runs dry, is committed, and goes with the next rebalance.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from asyncio import Task
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from waybill.errors import BrokerError
from waybill.message import Delivery
from waybill.settling import back_off
from waybill_kafka import client
from waybill_kafka.assigning import Assignor
from waybill_kafka.client import (
    CommitFailedError,
    Consumer,
    IllegalStateError,
    KafkaError,
    Listener,
    TopicPartition,
)
from waybill_kafka.cluster import Cluster
from waybill_kafka.mapping import mapped, said
from waybill_kafka.part import Part
from waybill_kafka.sharing import Claim, Share
from waybill_kafka.watermark import Note, read

__all__ = ["COMMITTING", "LEAVING", "Member", "heartbeat"]

log = logging.getLogger("waybill.kafka")

COMMITTING = 3.0
"""Seconds that the broker is given to take a commit."""
LEAVING = 0.7
"""And that it is given to say goodbye."""
FETCH_MS = 500
LOOK_MS = 2000
"""How often a pattern is held against the topics there are."""


def heartbeat(session: float) -> float:
    """Seconds between two heartbeats. A member learns by them that another has come or gone, so they are frequent."""
    return min(0.3, session / 4)


class Member:
    """Opened by `open`, ended by `close`. Its callbacks are called on the event loop."""

    def __init__(
        self,
        cluster: Cluster,
        group: str,
        topics: Iterable[str] | re.Pattern[str],
        unit_of: Callable[[TopicPartition], str],
        *,
        session: float,
        window: int,
        on_lost: Callable[[list[Delivery[Any]]], None],
        on_wanted: Callable[[list[Part], float], None],
        on_trouble: Callable[[str | None], None],
    ) -> None:
        self.parts: dict[TopicPartition, Part] = {}
        self.frozen = True
        """While who has what is decided anew, nothing is handed out."""
        self.joined = asyncio.Event()
        self.news = asyncio.Event()
        self._cluster = cluster
        self._table = cluster.table
        self._group = group
        self._topics = topics
        self._unit_of = unit_of
        self._session = min(session, self._table.session_timeout)
        self._window = window
        self._on_lost, self._on_wanted, self._on_trouble = on_lost, on_wanted, on_trouble
        self._assignor = Assignor(unit_of, self._claim, self._shared)
        self._share = Share()
        self._heard = time.monotonic()
        self._joining = True
        self._lock = asyncio.Lock()
        self._tasks: list[Task[None]] = []
        self._side: set[Task[None]] = set()
        self._room = asyncio.Event()
        self._closed = False
        self._trouble: str | None = None
        self._trouble_of: dict[str, str] = {}
        self.consumer: Consumer

    # ---------------------------------------------------------------- life

    async def open(self) -> None:
        """Raises `BrokerError`."""
        interval = heartbeat(self._session)
        self._silence = max(1.5, 3 * interval)
        told = await self._cluster.consumers(self._group, self._session)
        if isinstance(self._topics, re.Pattern):
            told["metadata_max_age_ms"] = LOOK_MS
        told |= self._cluster.reading
        told |= {
            "group_id": self._group,
            "group_instance_id": self._table.static_membership,
            "heartbeat_interval_ms": round(interval * 1000),
            "fetch_max_wait_ms": FETCH_MS,
            "partition_assignment_strategy": [self._assignor],
        }
        self.consumer = client.consumer(told)
        with mapped(f"cannot consume as {self._group}"):
            async with asyncio.timeout(self._table.connect_timeout):
                await self.consumer.start()
        self._listen_to_heartbeats()
        listener = Listener(self._on_revoked, self._on_assigned)
        if isinstance(self._topics, re.Pattern):
            self.consumer.subscribe(pattern=self._topics.pattern, listener=listener)
        else:
            self.consumer.subscribe(topics=list(self._topics), listener=listener)
        self._tasks = [self._spawn(self._pump(), "fetch"), self._spawn(self._keep(), "commit")]

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> Task[None]:
        return asyncio.get_running_loop().create_task(work, name=f"waybill-kafka-{what} {self._group}")

    def _aside(self, work: Coroutine[Any, Any, None], what: str) -> None:
        task = self._spawn(work, what)
        self._side.add(task)
        task.add_done_callback(self._side.discard)

    async def close(self) -> None:
        """Commit what is done with, leave the group, and let go. Bounded, whatever the broker does."""
        self._closed = True
        self.frozen = True
        await self.commit(leaving=True, within=LEAVING)
        for task in (*self._tasks, *self._side):
            task.cancel()
        if self._tasks:
            await asyncio.wait([*self._tasks, *self._side], timeout=LEAVING)
        await client.stop(self.consumer)

    @property
    def lease_until(self) -> float:
        """Until when the broker lets us keep what we have, on `time.monotonic()`. While we join, it waits for us."""
        return (time.monotonic() if self._joining else self._heard) + self._session

    def _listen_to_heartbeats(self) -> None:
        coordinator = client.coordinator_of(self.consumer)
        beat = coordinator._do_heartbeat

        async def heard() -> bool:
            asked = time.monotonic()
            answered = bool(await beat())
            if answered:
                self._heard = asked
            return answered

        coordinator._do_heartbeat = heard

    # ---------------------------------------------------------------- who has what

    async def _on_revoked(self) -> None:
        """A rebalance begins. What is done with is committed, so that it can go."""
        if client.coordinator_of(self.consumer).generation > 0:
            await self.commit(leaving=True, within=min(1.0, self._session / 2))
        self.frozen = True

    def _claim(self) -> Claim:
        """Said when joining. What we had is not ours any more where the broker has forgotten us."""
        self.frozen = self._joining = True
        if client.coordinator_of(self.consumer).generation <= 0:
            self._lose(list(self.parts.values()))
        busy = {
            self._unit_of(tp)
            for tp, part in self.parts.items()
            if part.out or part.known != part.state(1, leaving=True)
        }
        return Claim({self._unit_of(tp): part.since for tp, part in self.parts.items()}, sorted(busy))

    def _shared(self, share: Share) -> None:
        self._share = share

    async def _on_assigned(self, tps: set[TopicPartition]) -> None:
        self._joining = False
        self._heard = time.monotonic()
        since = client.coordinator_of(self.consumer).generation
        self._lose([part for tp, part in self.parts.items() if tp not in tps])
        for tp, part in self.parts.items():
            part.since = since
            part.wanted = self._unit_of(tp) in self._share.wanted
            part.paused = False
            part.fetched = type(part.fetched)(r for r in part.fetched if r.offset in part.again)
            self.consumer.seek(tp, part.marks.position)
        self._let_go([part for part in self.parts.values() if part.wanted])
        new = tps - self.parts.keys()
        if new:
            self.consumer.pause(*new)
        self._aside(self._adopt(new, since), "adopt")

    async def _adopt(self, new: set[TopicPartition], since: int) -> None:
        """Learn where to go on in partitions that are new to us, tell the broker that they are at work, and begin."""
        failures = 0
        while not self._closed and since == client.coordinator_of(self.consumer).generation:
            try:
                found = await self._adopted(new, since) if new else []
                if await self.commit(within=COMMITTING):
                    break
            except (BrokerError, KafkaError, OSError) as error:
                self._tell("adopt", f"cannot see where to go on: {error}")
            else:
                new -= {part.tp for part in found}
            failures += 1
            await asyncio.sleep(back_off(failures))
        if since == client.coordinator_of(self.consumer).generation and not self._joining:
            self._tell("adopt", None)
            self.frozen = False
            self.joined.set()
            self.news.set()

    async def _adopted(self, new: set[TopicPartition], since: int) -> list[Part]:
        committed = await self._cluster.committed(self._group)
        async with asyncio.timeout(COMMITTING):
            first = await self.consumer.beginning_offsets(list(new))
            ends = await self.consumer.end_offsets(list(new))
        if since != client.coordinator_of(self.consumer).generation:
            return []
        made: list[Part] = []
        for tp in new:
            offset, metadata = committed.get(tp, (first[tp], ""))
            note = read(metadata)
            if offset < first[tp] or offset > ends[tp]:  # what was kept has gone, or the topic is another by now
                log.warning("%s: offset %d of %s is not there any more: from the first on", self._group, offset, tp)
                offset, note = first[tp], Note()
            part = Part(tp, offset, note, end=ends[tp], since=since)
            self.parts[tp] = part
            self.consumer.seek(tp, offset)
            made.append(part)
        self.consumer.resume(*new)
        return made

    def _lose(self, parts: list[Part]) -> None:
        """These are not ours any more."""
        gone: list[Delivery[Any]] = []
        for part in parts:
            self.parts.pop(part.tp, None)
            gone += part.out.values()
        if gone:
            self._on_lost(gone)

    def _let_go(self, parts: list[Part]) -> None:
        if parts:
            deadline = time.monotonic() + self._table.rebalance_timeout
            self._on_wanted(parts, deadline)
            self._aside(self._run_dry(parts, deadline), "hand-over")

    async def _run_dry(self, parts: list[Part], deadline: float) -> None:
        """Join anew when one of these is done with, so that it can go; at the deadline they go as they are."""
        while not self._closed and time.monotonic() < deadline:
            mine = [part for part in parts if self.parts.get(part.tp) is part and part.wanted]
            if not mine:
                return
            busy = {self._unit_of(part.tp) for part in mine if part.out}
            if any(self._unit_of(part.tp) not in busy for part in mine):
                break
            await asyncio.sleep(0.05)
        else:
            self._lose([part for part in parts if self.parts.get(part.tp) is part])
        if not self._closed:
            client.coordinator_of(self.consumer).request_rejoin()

    # ---------------------------------------------------------------- fetching

    async def _pump(self) -> None:
        failures = 0
        while not self._closed:
            if not self._hungry():
                self._room.clear()
                await self._room.wait()
                continue
            try:
                fetched = await self.consumer.getmany(timeout_ms=FETCH_MS, max_records=max(500, self._window))
            except (KafkaError, OSError, RuntimeError) as error:
                failures += 1
                self._tell("fetch", f"cannot fetch: {said(error)}")
                await asyncio.sleep(back_off(failures))
                continue
            failures = 0
            self._tell("fetch", None)
            for tp, records in fetched.items():
                if (part := self.parts.get(tp)) is not None:
                    part.fetch(records)
            if fetched:
                self.news.set()

    def _hungry(self) -> bool:
        """Whether more is to be fetched. A partition that is full is paused, so that it does not hold up the others."""
        waiting = 0
        for tp, part in self.parts.items():
            full = len(part.fetched) > 1000 or part.bytes > 4 * self._table.fetch_bytes or self.blocked(part)
            if full != part.paused and self.consumer.assignment() >= {tp}:
                if full:
                    part.paused = True
                    self.consumer.pause(tp)
                elif len(part.fetched) < 500 and part.marks.span < self._table.most_unfinished // 2:
                    part.paused = False
                    self.consumer.resume(tp)
            if not part.paused:
                waiting += len(part.fetched)
        return waiting < max(1000, 2 * self._window)

    def blocked(self, part: Part) -> bool:
        """Whether one message of it has waited for so long that nothing more of it may be begun."""
        return part.marks.span >= self._table.most_unfinished

    def wake(self) -> None:
        """Something was handed out or settled."""
        if not self._room.is_set():
            self._room.set()

    # ---------------------------------------------------------------- committing

    async def _keep(self) -> None:
        """Commit from time to time, and see whether the broker is heard of."""
        while not self._closed:
            await asyncio.sleep(self._table.commit_interval)
            silent = time.monotonic() - self._heard
            self._tell("silence", f"no word from it for {silent:.1f} s" if self._is_silent(silent) else None)
            if not self.frozen:
                await self.commit(within=COMMITTING)
            self.wake()

    def _is_silent(self, seconds: float) -> bool:
        return seconds > (self._silence + (10.0 if self._joining else 0.0))

    async def commit(self, *, within: float, leaving: bool = False) -> bool:
        """Tell the broker how far we are. `False`: it has not taken it."""
        async with self._lock:
            states = {tp: part.state(self._window, leaving=leaving) for tp, part in self.parts.items()}
            parts = {tp: self.parts[tp] for tp, state in states.items() if self.parts[tp].known != state}
            if not parts:
                return True
            try:
                async with asyncio.timeout(within):
                    await self.consumer.commit({tp: states[tp] for tp in parts})
            except (CommitFailedError, IllegalStateError) as error:
                log.debug("%s: not committed, a rebalance is under way: %s", self._group, said(error))
                return False
            except (TimeoutError, KafkaError, OSError) as error:
                self._tell("commit", f"cannot commit: {said(error)}")
                return False
            self._tell("commit", None)
            for tp, part in parts.items():
                part.known = states[tp]
                part.marked = "held" in states[tp][1]
            return True

    def _tell(self, what: str, trouble: str | None) -> None:
        if trouble is None:
            self._trouble_of.pop(what, None)
        else:
            self._trouble_of[what] = trouble
        said_now = next(iter(self._trouble_of.values()), None)
        if (said_now is None) != (self._trouble is None):
            self._on_trouble(said_now)
        self._trouble = said_now
