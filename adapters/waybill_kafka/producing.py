"""A producer that is replaced when it is broken.

The library's idempotent producer does not survive what its broker refuses for good: the partition's sequence has a gap from
then on. Nor does it ever give up a batch. So whatever fails, or is not answered in time, costs the producer its life: its
connections are closed, so that nothing of it is stored later behind what its successor sends, and what it had not been
answered is unknown.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future
from collections.abc import Sequence
from typing import Any, NamedTuple

from waybill.errors import BrokerError
from waybill.foreign import said
from waybill.outcomes import Confirmed, Refused, SendResult, Unknown
from waybill.settling import back_off
from waybill_kafka import client
from waybill_kafka.client import KafkaError, MessageSizeTooLargeError, Producer, errors
from waybill_kafka.cluster import Cluster
from waybill_kafka.mapping import mapped
from waybill_kafka.options import BrokerTable

__all__ = ["Line", "Outbound"]

log = logging.getLogger("waybill.kafka")

ENVELOPE = 192 << 10
"""Bytes that a record may have beside its body: headers, a dead letter's record and stack, and the batch around them."""
LEAVING = 2.0
CERTAIN: tuple[type[KafkaError], ...] = (MessageSizeTooLargeError, errors.TopicAuthorizationFailedError)
"""What the broker answers for a batch of which it has stored nothing."""


class Outbound(NamedTuple):
    """A record on its way, and the id of its message."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    id: str


def settings(table: BrokerTable, batch: int) -> dict[str, Any]:
    return {
        "acks": "all",
        "enable_idempotence": True,
        "compression_type": None if table.compression == "none" else table.compression,
        "linger_ms": round(table.linger * 1000),
        "max_batch_size": batch,
        "max_request_size": table.max_message_size + ENVELOPE,
    }


class Line:
    """One sink's way to the broker."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._name = name
        self._producer: Producer | None = None
        self._opening = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()
        self._batch = cluster.table.batch_size
        self._closed = False

    def limit(self, size: int) -> None:
        """The broker takes no larger batch there: one that is too large would be refused with all that is in it."""
        self._batch = min(self._cluster.table.batch_size, size)

    async def open(self) -> Producer:
        """The producer that works now. Raises `BrokerError`."""
        async with self._opening:
            if self._closed:
                raise BrokerError(f"{self._name}: closed")
            if self._producer is None:
                with mapped("cannot publish"):
                    producer = client.producer(
                        await self._cluster.clients(f"publishing {self._name}")
                        | settings(self._cluster.table, self._batch),
                        self._cluster.pace,
                    )
                    try:
                        await client.start(producer)
                    except BaseException:
                        self._leave(producer)
                        raise
                    self._producer = producer
            return self._producer

    async def send(self, records: Sequence[Outbound], deadline: float) -> list[SendResult]:
        """What became of each, at the deadline (the loop's clock) at the latest.

        Of one key's records none is stored behind one that is not.
        """
        results: list[SendResult | None] = [None] * len(records)
        doubtful: set[bytes | None] = set()
        failures = 0
        while left := [place for place, result in enumerate(results) if result is None]:
            try:
                async with asyncio.timeout_at(deadline):
                    if failures:
                        await asyncio.sleep(back_off(failures))
                    producer = await self.open()
            except (TimeoutError, BrokerError) as error:
                failures += 1
                if asyncio.get_running_loop().time() >= deadline:
                    return [result or _unreached(str(error)) for result in results]
                continue
            handed = await self._hand_over(producer, [records[place] for place in left], deadline)
            await self._wait(handed, deadline)
            for place, item in zip(left, handed, strict=False):
                result = item if isinstance(item, Refused) else self._result(producer, item, records[place].id)
                results[place] = result
                if not isinstance(result, Confirmed) and records[place].key is not None:
                    doubtful.add(records[place].key)
            for place in left[len(handed) :]:
                if records[place].key in doubtful:
                    results[place] = Refused("an earlier message of its key may or may not be stored", transient=True)
            failures += 1
        return [result or _unreached("") for result in results]

    async def _hand_over(
        self, producer: Producer, records: Sequence[Outbound], deadline: float
    ) -> list[Future[Any] | Refused]:
        """Give them to the producer, as far as it takes them."""
        handed: list[Future[Any] | Refused] = []
        try:
            async with asyncio.timeout_at(deadline):
                for record in records:
                    handed.append(await _put(producer, record))  # noqa: PERF401 - what was put counts if the next is not
        except (TimeoutError, KafkaError, OSError) as error:
            self._give_up(producer, said(error))
        return handed

    async def _wait(self, handed: Sequence[Future[Any] | Refused], deadline: float) -> None:
        waiting = [item for item in handed if isinstance(item, Future) and not item.done()]
        if waiting:
            await asyncio.wait(waiting, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))

    def _result(self, producer: Producer, future: Future[Any], ident: str) -> SendResult:
        if not future.done():
            self._give_up(producer, "no answer in time")
            return Unknown("no answer in time")
        if future.cancelled():
            return Unknown("the connection was given up before the answer came")
        error = future.exception()
        if error is None:
            kept = future.result()
            return Confirmed(ident, f"{kept.topic}/{kept.partition}@{kept.offset}")
        self._give_up(producer, said(error))
        if isinstance(error, CERTAIN):
            return Refused(f"the broker does not take it: {said(error)}")
        return Unknown(said(error))

    def _give_up(self, producer: Producer, why: str) -> None:
        if self._producer is producer:
            log.warning("%s: publishing through a new connection: %s", self._name, why)
            self._producer = None
            self._leave(producer)

    def _leave(self, producer: Producer) -> None:
        task = asyncio.get_running_loop().create_task(client.abandon(producer), name="waybill-kafka-abandon")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        self._closed = True
        producer, self._producer = self._producer, None
        if producer is not None:
            self._leave(producer)
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=LEAVING)


async def _put(producer: Producer, record: Outbound) -> Future[Any] | Refused:
    try:
        future: Future[Any] = await producer.send(
            record.topic, record.value, key=record.key, partition=record.partition, headers=record.headers
        )
    except MessageSizeTooLargeError as error:
        return Refused(f"the message cannot be sent: {said(error)}")
    future.add_done_callback(_seen)
    return future


def _unreached(why: str) -> Refused:
    return Refused(f"the broker cannot be reached: {why or 'no answer in time'}", transient=True)


def _seen(future: Future[Any]) -> None:
    """Whoever waited for it may have gone."""
    if not future.cancelled():
        future.exception()
