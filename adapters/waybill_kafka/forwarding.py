"""Handing on what has waited: to the next step of its wait, or to where it is consumed. Done by whoever consumes there."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from asyncio import Task
from typing import Any

from waybill import envelope
from waybill.addressing import partition_of
from waybill.clock import Clock
from waybill.errors import BrokerError, DecodeError
from waybill.foreign import said
from waybill.outcomes import Confirmed
from waybill.settling import back_off
from waybill_kafka import client, names, records, rooms
from waybill_kafka.batching import Outbound
from waybill_kafka.client import Consumer, KafkaError, Listener, TopicPartition
from waybill_kafka.cluster import Cluster
from waybill_kafka.layout import Layout
from waybill_kafka.mapping import mapped
from waybill_kafka.member import COMMITTING, LEAVING, heartbeat
from waybill_kafka.producing import Line
from waybill_kafka.watermark import Watermark, read, write

__all__ = ["Forwarder"]

log = logging.getLogger("waybill.kafka")

AHEAD = 1000
"""Messages of one partition that are read ahead."""
BATCH = 500
SENDING = 10.0
SWEEPING = 60.0
"""Seconds between two sweepings of what has been handed on."""
SESSION = 6.0
"""Seconds after which a silent member's rooms are looked after by another: the least that brokers allow."""


class Forwarder:
    """One member of those who look after a waiting room. `target`: where what it holds goes in the end."""

    def __init__(
        self, cluster: Cluster, layout: Layout, room: str, target: str, clock: Clock, *, session: float
    ) -> None:
        self._cluster = cluster
        self._layout = layout
        self._room = room
        self._target = target
        self._clock = clock
        self._session = min(session, SESSION, cluster.table.session_timeout)
        self._line = Line(cluster, f"from {room}")
        self._marks: dict[TopicPartition, Watermark] = {}
        self._known: dict[TopicPartition, tuple[int, str]] = {}
        self._waiting: list[tuple[float, int, Watermark, Any]] = []
        self._count = 0
        self._sweep_at = asyncio.get_running_loop().time() + SWEEPING
        self._task: Task[None] | None = None
        self._consumer: Consumer | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"waybill-kafka-forward {self._room}")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=LEAVING)
        await self._leave()
        await self._line.close()

    async def _leave(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        with contextlib.suppress(KafkaError, OSError, TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(LEAVING):
                await self._commit(consumer)
        await client.stop(consumer)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._open()
                while True:
                    await self._turn()
                    failures = 0
            except (BrokerError, KafkaError, OSError, TimeoutError) as error:
                failures += 1
                log.log(
                    logging.WARNING if failures == 3 else logging.DEBUG,
                    "%s: what waits there is not handed on now: %s",
                    self._room,
                    said(error),
                )
                await asyncio.sleep(back_off(failures))

    async def _open(self) -> None:
        if self._consumer is not None:
            return
        told = await self._cluster.consumers(f"forwarding {self._room}", self._session)
        told |= {
            "group_id": names.forwarders(self._room),
            "heartbeat_interval_ms": round(3 * heartbeat(self._session) * 1000),
        }
        consumer = client.consumer(told, self._cluster.pace)
        self._consumer = consumer
        with mapped("cannot look after what waits"):
            async with asyncio.timeout(self._cluster.table.connect_timeout):
                await client.start(consumer)
        consumer.subscribe([self._room], listener=Listener(self._on_revoked, self._on_assigned))

    async def _on_revoked(self) -> None:
        if self._consumer is not None:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(min(1.0, self._session / 2)):
                    await self._commit(self._consumer)
        self._marks, self._waiting = {}, []

    async def _on_assigned(self, assigned: set[TopicPartition]) -> None:
        self._known = {}
        with contextlib.suppress(BrokerError):  # then what was finished beyond the offset is handed on twice
            async with asyncio.timeout(COMMITTING):
                self._known = await self._cluster.committed(names.forwarders(self._room))
        del assigned

    async def _turn(self) -> None:
        """Read what has come, hand on what is due, commit."""
        consumer = self._consumer
        assert consumer is not None  # noqa: S101 - `_open` made it
        until = self._waiting[0][0] - self._clock.time() if self._waiting else 0.5
        fetched = await consumer.getmany(timeout_ms=max(1, round(min(0.5, until) * 1000)), max_records=BATCH)
        for tp, found in fetched.items():
            marks = self._marks.get(tp)
            if marks is None:
                offset, metadata = self._known.get(tp, (found[0].offset, ""))
                marks = self._marks[tp] = Watermark(min(offset, found[0].offset), read(metadata))
            for record in found:
                if marks.see(record.offset):
                    self._wait(record, marks)
        self._limit(consumer)
        await self._hand_on()
        await self._commit(consumer)

    def _wait(self, record: Any, marks: Watermark) -> None:
        self._count += 1
        heapq.heappush(self._waiting, (_until(record), self._count, marks, record))

    def _limit(self, consumer: Consumer) -> None:
        """Read no further ahead than there is room for."""
        paused = consumer.paused()
        for tp, marks in self._marks.items():
            if tp not in consumer.assignment():
                continue
            if marks.unfinished >= AHEAD and tp not in paused:
                consumer.pause(tp)
            elif marks.unfinished < AHEAD // 2 and tp in paused:
                consumer.resume(tp)

    async def _hand_on(self) -> None:
        if not self._waiting or self._waiting[0][0] > self._clock.time():
            return
        partitions = await self._layout.partitions(self._target)
        if partitions is None:
            raise BrokerError(f"{self._target} is not there")
        now = self._clock.time()
        due: list[tuple[Watermark, Any]] = []
        while self._waiting and self._waiting[0][0] <= now and len(due) < BATCH:
            _, _, marks, record = heapq.heappop(self._waiting)
            due.append((marks, record))
        loop = asyncio.get_running_loop()
        outbound = [self._onward(record, now, partitions, number) for number, (_, record) in enumerate(due)]
        results = await self._line.send(outbound, loop.time() + SENDING)
        for (marks, record), result in zip(due, results, strict=True):
            if isinstance(result, Confirmed):
                marks.finish(record.offset)
            else:
                self._wait(record, marks)

    def _onward(self, record: Any, now: float, partitions: int, number: int) -> Outbound:
        headers = [(name, value or b"") for name, value in record.headers if name != records.DUE]
        due = _due(record)
        if due is not None and due > now:
            partition, until = rooms.hop(now, due)
            headers.append((records.DUE, f"{until * 1000:.0f}".encode()))
            return Outbound(self._room, partition, record.key, record.value, headers, "")
        partition = number % partitions if record.key is None else partition_of(record.key, partitions)
        return Outbound(self._target, partition, record.key, record.value, headers, "")

    async def _commit(self, consumer: Consumer) -> None:
        states = {tp: (marks.offset, write(marks.note())) for tp, marks in self._marks.items()}
        changed = {tp: state for tp, state in states.items() if self._known.get(tp) != state}
        if changed:
            async with asyncio.timeout(COMMITTING):
                await consumer.commit(changed)
            self._known = self._known | changed
        now = asyncio.get_running_loop().time()
        if now > self._sweep_at:
            self._sweep_at = now + SWEEPING
            await self._cluster.sweep({tp: offset for tp, (offset, _) in states.items() if offset})


def _until(record: Any) -> float:
    text = records.text_of(record.headers, records.DUE)
    try:
        return int(text or 0) / 1000
    except ValueError:
        return 0.0


def _due(record: Any) -> float | None:
    """When the message is due in the end."""
    text = records.text_of(record.headers, "waybill")
    if text is None:
        return None
    try:
        message = envelope.decode({"waybill": text}, b"", topic="", received=records.when(record.timestamp))
    except DecodeError:
        return None
    return None if message.due is None else message.due.timestamp()
