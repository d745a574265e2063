"""What the library has fetched and not given out yet, so that nothing of it is lost beside what cannot be read.

By itself the library raises in the middle of reading. What it has read in the same call it drops then, and where that was of
other partitions, it has moved on behind it.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Generator
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchError
from aiokafka.errors import KafkaError

from waybill.foreign import said

__all__ = ["Fetched", "Unreadable"]

BACKOFF = 0.1
"""Seconds for which the library fetches nothing else from a server, while this waits to be raised."""


class Unreadable(KafkaError):  # type: ignore[misc]
    """What is at this place can be read by nobody: its checksum is wrong, its compression unknown."""

    def __init__(self, partition: TopicPartition, offset: int, end: int, why: str) -> None:
        """`end`: the offset behind it, as far as that can be told."""
        super().__init__(f"{partition.topic}/{partition.partition} cannot be read at offset {offset}: {why}")
        self.partition = partition
        self.offset = offset
        self.end = end


class Batches:
    """The batches that the library reads, and the one that it has in hand."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches
        self._last: Any = None
        self.has_next = batches.has_next

    def next_batch(self) -> Any:
        self._last = None
        self._last = self._batches.next_batch()
        return self._last

    def end(self, offset: int) -> int:
        """The offset behind the batch in hand, of which this one is. It says so itself, and where its checksum is wrong
        that may mean nothing: then it is where the next begins."""
        batch = self._last
        if batch is None:
            return offset + 1
        if _is_sound(batch):
            return max(offset + 1, int(batch.next_offset))
        with contextlib.suppress(Exception):
            if self.has_next() and _is_sound(following := self._batches.next_batch()):
                return max(offset + 1, int(following.base_offset))
        return offset + 1


def _is_sound(batch: Any) -> bool:
    try:
        return bool(batch.validate_crc())
    except AssertionError:  # the library has looked already, and gone on
        return True


class Fetched(OrderedDict[TopicPartition, Any]):
    """Of each partition what is to be given out, or an error: which is raised when there is nothing else to give out."""

    def __init__(self) -> None:
        super().__init__()
        self._unreadable: dict[TopicPartition, Unreadable] = {}

    def __setitem__(self, partition: TopicPartition, found: Any) -> None:
        if isinstance(found, FetchError):
            found._error.partition = partition
        else:
            records = found._partition_records
            records._records = Batches(records._records)
            records._records_iterator = self._readable(partition, records, records._records_iterator)
        super().__setitem__(partition, found)

    def __delitem__(self, partition: TopicPartition) -> None:
        """It was given out. What could not be read behind it comes next."""
        super().__delitem__(partition)
        if (error := self._unreadable.pop(partition, None)) is not None:
            self[partition] = FetchError(error=error, backoff=BACKOFF)

    def _readable(self, partition: TopicPartition, records: Any, reading: Any) -> Generator[Any, None, None]:
        try:
            yield from reading
        except Exception as error:  # noqa: BLE001 - whatever a decoder raises for bytes that mean nothing
            offset = records.next_fetch_offset
            self._unreadable[partition] = Unreadable(partition, offset, records._records.end(offset), said(error))
