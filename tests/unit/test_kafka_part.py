"""What is fetched of a partition and waits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from waybill_kafka.client import TopicPartition
from waybill_kafka.part import Part
from waybill_kafka.watermark import Note


def records(*offsets: int) -> list[Any]:
    return [SimpleNamespace(offset=offset, value=b"x" * 100) for offset in offsets]


def test_what_waits_weighs_nothing_when_it_is_gone() -> None:
    part = Part(TopicPartition("orders", 0), 0, Note(), end=10, since=1, most=100)
    part.fetch(records(0, 1, 2, 3))
    (first,) = part.take(1)
    alone = part.bytes / 3
    part.give_back(first)
    assert part.bytes == 4 * alone
    part.unfetch()  # as a rebalance has it
    assert [record.offset for record in part.fetched] == [0]
    assert part.bytes == alone
    part.fetch(records(1, 2, 3))
    assert len(part.take(10)) == 4
    assert part.bytes == 0


def test_a_record_that_was_given_back_comes_before_all_later_ones_and_once() -> None:
    part = Part(TopicPartition("orders", 0), 0, Note(), end=10, since=1, most=100)
    part.fetch(records(0, 1, 2))
    first, second = part.take(2)
    part.give_back(second)
    part.give_back(first)
    assert [record.offset for record in part.take(4)] == [0, 1, 2]
