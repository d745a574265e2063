"""Beside what cannot be read nothing of what the library has fetched is lost, and the error says where it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchError, FetchResult, PartitionRecords
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from waybill_kafka.fetched import Fetched, Unreadable

HERE = TopicPartition("orders", 0)


class Position:
    """Of one partition, as the library keeps it."""

    active = True
    paused = False

    def __init__(self) -> None:
        self.position = 0

    def state_value(self, _: TopicPartition) -> Position:
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position


def result(assignment: Position, reading: Iterator[Any]) -> FetchResult:
    batches = SimpleNamespace(has_next=lambda: False)
    records = PartitionRecords(HERE, batches, [], assignment.position, None, None, False, 0)

    def moved() -> Iterator[Any]:
        for offset in reading:
            records.next_fetch_offset = offset + 1
            yield offset

    records._records_iterator = moved()
    return FetchResult(HERE, assignment=assignment, partition_records=records, backoff=0.1)


def good_then_bad() -> Iterator[int]:
    yield from (0, 1)
    raise OverflowError("these bytes mean nothing")


def test_what_is_readable_is_given_out_and_what_is_not_is_an_error_behind_it() -> None:
    fetched, assignment = Fetched(), Position()
    fetched[HERE] = result(assignment, good_then_bad())
    given = fetched[HERE]
    assert given.getall(500) == [0, 1]
    assert not given.has_more()
    assert assignment.position == 2
    del fetched[HERE]
    with pytest.raises(Unreadable, match="orders/0 cannot be read at offset 2: these bytes mean nothing") as raised:
        fetched[HERE].check_raise()
    assert (raised.value.partition, raised.value.offset) == (HERE, 2)
    del fetched[HERE]
    assert not fetched


def batch(base: int, *bodies: bytes) -> bytes:
    """As it lies on the broker."""
    builder = DefaultRecordBatchBuilder(
        2, 0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=0, batch_size=1 << 16
    )
    for number, body in enumerate(bodies):
        builder.append(number, 1_700_000_000_000, b"key", body, [])
    return base.to_bytes(8, "big") + bytes(builder.build())[8:]


def spoilt(data: bytes) -> bytes:
    """Its checksum is wrong, and what it says of its own length as well."""
    return data[:23] + b"\x00\xff\xff\xff" + data[27:-2] + b"??"


def unknown_codec(data: bytes) -> bytes:
    """Sound, and compressed by what nobody knows."""
    changed = bytearray(data)
    changed[22] |= 7
    changed[17:21] = calc_crc32c(bytes(changed[21:])).to_bytes(4, "big")
    return bytes(changed)


@pytest.mark.parametrize(
    ("second", "third", "end"),
    [
        (spoilt, batch(7, b"e"), 7),
        (spoilt, b"", 3),  # where it ends, nothing tells
        (spoilt, spoilt(batch(7, b"e")), 3),
        (unknown_codec, b"", 5),
        (unknown_codec, batch(7, b"e"), 5),
    ],
)
def test_all_of_what_cannot_be_read_is_behind_its_end(second: Callable[[bytes], bytes], third: bytes, end: int) -> None:
    fetched, assignment = Fetched(), Position()
    batches = MemoryRecords(batch(0, b"a", b"b") + second(batch(2, b"b", b"c", b"d")) + third)
    records = PartitionRecords(HERE, batches, [], 0, None, None, True, 0)
    fetched[HERE] = FetchResult(HERE, assignment=assignment, partition_records=records, backoff=0.1)
    assert [record.offset for record in fetched[HERE].getall(500)] == [0, 1]
    del fetched[HERE]
    with pytest.raises(Unreadable) as raised:
        fetched[HERE].check_raise()
    assert (raised.value.offset, raised.value.end) == (2, end)


def test_what_can_be_read_in_whole_leaves_nothing_behind() -> None:
    fetched, assignment = Fetched(), Position()
    fetched[HERE] = result(assignment, iter((0, 1, 2)))
    assert fetched[HERE].getall(2) == [0, 1]
    assert fetched[HERE].getall(2) == [2]
    del fetched[HERE]
    assert (assignment.position, dict(fetched)) == (3, {})


def test_what_the_broker_refuses_says_of_which_partition() -> None:
    fetched = Fetched()
    fetched[HERE] = FetchError(error=TopicAuthorizationFailedError("orders"), backoff=0.1)
    with pytest.raises(TopicAuthorizationFailedError) as raised:
        fetched[HERE].check_raise()
    assert raised.value.partition == HERE
