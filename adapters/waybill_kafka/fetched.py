"""What the library has fetched and not given out yet, so that nothing of it is lost beside what cannot be read.

By itself the library raises in the middle of reading. What it has read in the same call it drops then, and where that was of
other partitions, it has moved on behind it.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

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

    def __init__(self, partition: TopicPartition, offset: int, why: str) -> None:
        super().__init__(f"{partition.topic}/{partition.partition} cannot be read at offset {offset}: {why}")
        self.partition = partition
        self.offset = offset


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
            self._unreadable[partition] = Unreadable(partition, records.next_fetch_offset, said(error))
