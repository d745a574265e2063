"""Kafka: how far a partition may be committed, whatever order handlers end in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybill_kafka.watermark import MOST_METADATA, Note, Watermark, finished_in, read, write


def test_what_is_unfinished_holds_the_watermark_and_what_is_behind_it_is_remembered() -> None:
    marks = Watermark(10)
    assert [marks.see(offset) for offset in (10, 11, 12)] == [True] * 3
    marks.finish(12)
    marks.finish(11)
    assert marks.offset == 10
    again = Watermark(marks.offset, read(write(marks.note())))
    assert [again.see(offset) for offset in (10, 11, 12, 13)] == [True, False, False, True]
    marks.finish(10)
    assert marks.offset == 13


def test_gaps_hold_nothing_up() -> None:
    marks = Watermark(0)
    for offset in (3, 7):
        marks.see(offset)
        marks.finish(offset)
    assert marks.offset == 8
    marks.skip(12)
    assert marks.offset == 12


def test_a_record_that_was_seen_is_not_handed_out_again_and_what_was_not_seen_cannot_be_finished() -> None:
    marks = Watermark(5)
    assert marks.see(6)
    assert not marks.see(6)
    assert not marks.see(4)
    marks.finish(9)
    assert marks.offset == 6


@pytest.mark.parametrize(
    "metadata", ["", "x", "{}", '{"v":2,"held":5}', '{"done":"\x7f"}', '{"tries":{"a":1}}', "null"]
)
def test_metadata_of_others_says_nothing(metadata: str) -> None:
    assert read(metadata) == Note()


def test_what_may_be_at_work_and_attempts_are_told_to_the_next_owner() -> None:
    marks = Watermark(100)
    marks.see(100)
    marks.see(105)
    marks.tries[105] = 2
    again = Watermark(marks.offset, read(write(marks.note(held=20))))
    assert again.dubious_until == 120
    assert again.tries == {105: 2}


def test_metadata_is_bounded_and_keeps_what_comes_first() -> None:
    marks = Watermark(0)
    for offset in range(20_000):
        marks.see(offset)
        if offset % 2:
            marks.finish(offset)
    metadata = write(marks.note(held=100))
    assert len(metadata) <= MOST_METADATA
    again = Watermark(0, read(metadata))
    assert [again.see(offset) for offset in range(4)] == [True, False, True, False]


@given(st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=80), st.randoms())
def test_nothing_unfinished_is_ever_passed_and_nothing_finished_comes_again(
    gaps: list[tuple[int, bool]], chance: object
) -> None:
    """Whatever offsets there are, and in whatever order some of them are finished."""
    marks, offsets, at = Watermark(7), [], 7
    for gap, _ in gaps:
        at += gap + 1
        offsets.append(at)
        assert marks.see(at)
    done = [offset for offset, (_, finished) in zip(offsets, gaps, strict=True) if finished]
    chance.shuffle(done)  # type: ignore[attr-defined]
    before = marks.offset
    for offset in done:
        marks.finish(offset)
        assert marks.offset >= before, "it went back"
        before = marks.offset
    unfinished = [offset for offset in offsets if offset not in done]
    assert marks.offset == (unfinished[0] if unfinished else marks.position)
    again = Watermark(marks.offset, read(write(marks.note())))
    assert [offset for offset in offsets if again.see(offset)] == unfinished
    metadata = write(marks.note())
    ahead = sum(1 for offset in done if offset >= marks.offset)
    assert len(finished_in(read(metadata))) == ahead
