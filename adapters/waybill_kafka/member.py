"""One member of a group: its consumer, the partitions it has, and what it commits.

the library's rebalance: revoked ─▶ (commit) ─▶ claim ─▶ … ─▶ share ─▶ assigned
what we kept goes on as if nothing had been; what is new is adopted: its note is read, then it is fetched from;
what is wanted elsewhere runs dry, is committed, and goes with the next rebalance.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from asyncio import Task
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from waybill.errors import BrokerError
from waybill.foreign import said
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
from waybill_kafka.mapping import mapped
from waybill_kafka.part import Part
from waybill_kafka.pump import FETCH_MS, Pump
from waybill_kafka.sharing import Claim, Share
from waybill_kafka.watermark import Note, read

__all__ = ["COMMITTING", "LEAVING", "Member", "heartbeat"]

log = logging.getLogger("waybill.kafka")

COMMITTING = 3.0
"""Seconds that the broker is given to take a commit."""
SWEEPING = 60.0
SOON = 0.003
"""Seconds from what is settled to its commit, while little is."""
APART = 0.02
"""And between two commits."""
MANY = 50
LOOKING = 0.25
"""And while nothing is."""
LEAVING = 0.5
"""And that it is given to say goodbye."""
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
        own: str,
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
        self._own = own
        self._unit_of = unit_of
        self._session = min(session, self._table.session_timeout)
        self._window = window
        self._on_lost, self._on_wanted, self._on_trouble = on_lost, on_wanted, on_trouble
        self._assignor = Assignor(unit_of, self._claim, self._shared)
        self._share = Share()
        self._heard = time.monotonic()
        self._settled = asyncio.Event()
        self._count = 0
        self._sweep_at = time.monotonic() + SWEEPING
        self._joining = True
        self._lock = asyncio.Lock()
        self._tasks: list[Task[None]] = []
        self._side: set[Task[None]] = set()
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
        self.consumer = client.consumer(told, self._cluster.pace)
        self._pump = Pump(
            self.consumer, self.parts, self._table, window=self._window, on_news=self.news.set, tell=self._tell
        )
        with mapped(f"cannot consume as {self._group}"):
            async with asyncio.timeout(self._table.connect_timeout):
                await client.start(self.consumer)
        self._listen_to_heartbeats()
        listener = Listener(self._on_revoked, self._on_assigned)
        if isinstance(self._topics, re.Pattern):
            self.consumer.subscribe(pattern=self._topics.pattern, listener=listener)
        else:
            self.consumer.subscribe(topics=list(self._topics), listener=listener)
        self._tasks = [self._spawn(self._pump.run(), "fetch"), self._spawn(self._keep(), "commit")]

    def wake(self) -> None:
        """Something was handed out or settled."""
        self._pump.wake()

    def settled(self, number: int) -> None:
        """So many were; commit them."""
        self._count += number
        self._settled.set()

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> Task[None]:
        return asyncio.get_running_loop().create_task(work, name=f"waybill-kafka-{what} {self._group}")

    def _aside(self, work: Coroutine[Any, Any, None], what: str) -> None:
        task = self._spawn(work, what)
        self._side.add(task)
        task.add_done_callback(self._side.discard)

    async def close(self) -> None:
        """Commit what is done with, leave the group, and let go. Bounded, whatever the broker does."""
        self._closed = self.frozen = True
        for task in (*self._tasks, *self._side):
            task.cancel()
        try:
            await self._last_commit()
        finally:
            await client.stop(self.consumer)

    async def _last_commit(self) -> None:
        end = time.monotonic() + COMMITTING
        while not await self.commit(leaving=True, within=LEAVING):  # a rebalance may be under way
            if (
                time.monotonic() > end
                or self._is_silent(time.monotonic() - self._heard)
                or "commit" in self._trouble_of
            ):
                break
            await asyncio.sleep(0.05)

    @property
    def ours_until(self) -> float:
        """Until when nobody else is given what we have, on `time.monotonic()`. While we join, the broker waits for us."""
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
            part.unfetch()
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
        most = max(self._table.most_unfinished, 2 * self._window)
        for tp in new:
            offset, metadata = committed.get(tp, (first[tp], ""))
            note = read(metadata)
            if offset < first[tp] or offset > ends[tp]:  # what was kept has gone, or the topic is another by now
                log.warning("%s: offset %d of %s is not there any more: from the first on", self._group, offset, tp)
                offset, note = first[tp], Note()
            part = Part(tp, offset, note, end=ends[tp], since=since, most=most)
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

    # ---------------------------------------------------------------- committing

    async def _keep(self) -> None:
        """Commit from time to time, and see whether the broker is heard of."""
        while not self._closed:
            await self._turn()
            silent = time.monotonic() - self._heard
            self._tell("silence", "no word from the broker" if self._is_silent(silent) else None)
            if time.monotonic() > self.ours_until:
                self.presume_lost()
            elif not self.frozen:
                self._pass_gaps()
                await self.commit(within=COMMITTING)
            self.wake()
            if time.monotonic() > self._sweep_at:
                self._sweep_at = time.monotonic() + SWEEPING
                self._aside(self._sweep(), "sweep")

    def _pass_gaps(self) -> None:
        """Behind a partition's last record may be what is none: markers and aborted records of transactions."""
        for tp, part in self.parts.items():
            if not part.fetched and (position := client.position_of(self.consumer, tp)) is not None:
                part.marks.skip(position)

    async def _turn(self) -> None:
        """Wait for the next commit: soon where little is settled, so that a crash repeats little; else for more to share it."""
        again = time.monotonic() + APART
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOKING):
                await self._settled.wait()
        self._settled.clear()
        self._count, busy = 0, self._count > MANY
        await asyncio.sleep(self._table.commit_interval if busy else max(SOON, again - time.monotonic()))

    async def _sweep(self) -> None:
        """Of what is for this group alone, nobody needs what is done with."""
        mine = {tp: part.known[0] for tp, part in self.parts.items() if tp.topic == self._own and part.known[0]}
        await self._cluster.sweep(mine)

    def presume_lost(self) -> None:
        """We were not heard of for so long that others have what was ours by now. If not, it comes back to us."""
        if self.parts:
            self._lose(list(self.parts.values()))
            client.coordinator_of(self.consumer).request_rejoin()

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
        if said_now != self._trouble:
            self._trouble = said_now
            self._on_trouble(said_now)
