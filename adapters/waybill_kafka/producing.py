"""A producer that is replaced when it is broken.

The library's idempotent producer does not survive what its broker refuses for good: the partition's sequence has a gap from
then on. Nor does it ever give up a batch. So whatever fails, or is not answered in time, costs the producer its life: its
connections are closed, so that nothing of it is stored later behind what its successor sends, and what it had not been
answered is unknown.

It is given whole batches of one partition each: record by record it costs as much as all that we do.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future, Task
from collections.abc import Iterable, Sequence
from typing import Any

from waybill.errors import BrokerError
from waybill.foreign import said
from waybill.outcomes import Refused, SendResult, Unknown
from waybill.settling import back_off
from waybill_kafka import client
from waybill_kafka.batching import NO_ANSWER, QUEUED, Outbound, Queue, Sending
from waybill_kafka.client import KafkaError, MessageSizeTooLargeError, Producer, errors
from waybill_kafka.cluster import Cluster
from waybill_kafka.mapping import mapped
from waybill_kafka.options import BrokerTable

__all__ = ["ENVELOPE", "Line"]

log = logging.getLogger("waybill.kafka")

ENVELOPE = 192 << 10
"""Bytes that a record may have beside its body: headers, a dead letter's record and stack, and the batch around them."""
LEAVING = 2.0
CERTAIN: tuple[type[KafkaError], ...] = (MessageSizeTooLargeError, errors.TopicAuthorizationFailedError)
"""What the broker answers for a batch of which it has stored nothing."""


def settings(table: BrokerTable, batch: int) -> dict[str, Any]:
    return {
        "acks": "all",
        "enable_idempotence": True,
        "compression_type": None if table.compression == "none" else table.compression,
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
        self._queues: dict[tuple[str, int], Queue] = {}
        self._leaving: set[Task[None]] = set()
        self._batch = cluster.table.batch_size
        self._unreached = QUEUED
        """What becomes of what cannot be sent now."""
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
        if not records:
            return []
        sending, queues = Sending(records, deadline), set[Queue]()
        for place, record in enumerate(records):
            queue = self._queue(record.topic, record.partition)
            queue.add(sending, place)
            queues.add(queue)
        for queue in queues:
            if queue.task is None or queue.task.done():
                carrying = self._carry(queue)
                queue.task = asyncio.get_running_loop().create_task(carrying, name=f"waybill-kafka-send {self._name}")
        try:
            async with asyncio.timeout_at(deadline):
                await sending.decided
        except TimeoutError:
            return self._late(sending, queues)
        finally:
            sending.over = True
        return sending.results

    def _queue(self, topic: str, number: int) -> Queue:
        place = topic, number
        if (queue := self._queues.get(place)) is None:
            queue = self._queues[place] = Queue(topic, number)
        return queue

    def _late(self, sending: Sending, queues: Iterable[Queue]) -> list[SendResult]:
        """What is not answered may be stored, and nothing of its keys may pass it; what is not sent will not be."""
        if sending.producer is not None and NO_ANSWER in sending.results:
            self._give_up(sending.producer, NO_ANSWER.cause)
            for queue in queues:
                queue.refuse_behind(sending.doubtful)
        return [self._unreached if result is QUEUED else result for result in sending.results]

    async def _carry(self, queue: Queue) -> None:
        """Batch after batch, until nothing waits."""
        if self._cluster.table.linger:
            await asyncio.sleep(self._cluster.table.linger)
        failures = 0
        while queue.waits:
            if await self._carry_batch(queue):
                failures = 0
            else:
                failures += 1
                await asyncio.sleep(back_off(failures))

    async def _carry_batch(self, queue: Queue) -> bool:
        """Whether it was confirmed."""
        try:
            producer = await self.open()
        except (TimeoutError, BrokerError) as error:
            self._unreached = unreached(str(error))
            return False
        batch = producer.create_batch()
        until = queue.fill(batch, producer)
        if not batch.record_count():
            return True
        try:
            async with asyncio.timeout_at(until):
                answer = await producer.send_batch(batch, queue.topic, partition=queue.number)
        except (KafkaError, OSError, TimeoutError, AssertionError) as error:  # the last: it knows no such partition yet
            self._unreached = unreached(said(error))
            self._give_up(producer, said(error))
            queue.take_back()
            return False
        self._unreached = QUEUED
        answer.add_done_callback(client.heard)
        await asyncio.wait([answer], timeout=max(0.0, until - asyncio.get_running_loop().time()))
        return self._settle(queue, producer, answer)

    def _settle(self, queue: Queue, producer: Producer, answer: Future[Any]) -> bool:
        if not answer.done():
            failed: Refused | Unknown = NO_ANSWER
        elif answer.cancelled():
            failed = Unknown("the connection was given up before the answer came")
        elif (error := answer.exception()) is None:
            queue.confirm(answer.result().offset)
            return True
        elif isinstance(error, CERTAIN):
            failed = Refused(f"the broker does not take it: {said(error)}")
        else:
            failed = Unknown(said(error))
        self._give_up(producer, failed.cause if isinstance(failed, Unknown) else failed.reason)
        queue.fail(failed)
        return False

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
        carrying = {queue.task for queue in self._queues.values() if queue.task is not None}
        for task in carrying:
            task.cancel()
        producer, self._producer = self._producer, None
        if producer is not None:
            self._leave(producer)
        if ending := carrying | self._leaving:
            await asyncio.wait(ending, timeout=LEAVING)


def unreached(why: str) -> Refused:
    return Refused(f"the broker cannot be reached: {why or 'no answer in time'}", transient=True)
