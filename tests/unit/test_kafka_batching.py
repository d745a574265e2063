"""One partition's records on their way."""

from __future__ import annotations

from typing import Any

from waybill import Confirmed
from waybill.outcomes import Refused, SendResult, Unknown
from waybill_kafka.batching import NO_ANSWER, QUEUED, Outbound, Queue, Sending

DOUBT = Unknown("cut")


class Batch:
    """Takes so many records."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.bodies: list[bytes] = []
        self.closed = False

    def append(self, *, value: bytes, **_: Any) -> object | None:
        if len(self.bodies) == self.room:
            return None
        self.bodies.append(value)
        return self

    def close(self) -> None:
        self.closed = True


def sent(queue: Queue, *keys: str, deadline: float = 10.0) -> Sending:
    """A call of `send` with a record for each key; the body says which."""
    records = [Outbound("orders", 3, key.encode() or None, f"{key}{n}".encode(), [], key) for n, key in enumerate(keys)]
    sending = Sending(records, deadline)
    for place in range(len(records)):
        queue.add(sending, place)
    return sending


def filled(queue: Queue, room: int) -> list[bytes]:
    batch = Batch(room)
    queue.fill(batch, "producer")
    assert batch.closed  # nothing else comes into it, and it does not wait for more
    return batch.bodies


def kinds(sending: Sending) -> list[type[SendResult]]:
    return [type(result) for result in sending.results]


async def test_batches_are_filled_in_order_across_sends_and_confirmed_where_they_lie() -> None:
    queue = Queue("orders", 3)
    first, second = sent(queue, "a", "b"), sent(queue, "c", deadline=20.0)
    assert filled(queue, 2) == [b"a0", b"b1"]
    queue.confirm(7)
    assert first.decided.done()
    assert first.results == [Confirmed("a", "orders/3@7"), Confirmed("b", "orders/3@8")]
    assert second.results == [QUEUED]
    assert filled(queue, 2) == [b"c0"]
    assert second.results == [NO_ANSWER]
    queue.confirm(-1)  # it was stored before, and the broker has forgotten where
    assert second.results == [Confirmed("c")]
    assert not queue.waits


async def test_the_answer_is_waited_for_until_the_last_deadline_in_the_batch() -> None:
    queue = Queue("orders", 3)
    sent(queue, "a", deadline=20.0)
    sent(queue, "b", deadline=10.0)
    assert queue.fill(Batch(2), "producer") == 20.0


async def test_behind_what_failed_nothing_of_its_key_goes_on() -> None:
    queue = Queue("orders", 3)
    first, second = sent(queue, "a", "", "a"), sent(queue, "a", "b", "")
    assert filled(queue, 2) == [b"a0", b"1"]
    queue.fail(DOUBT)
    assert first.results[:2] == [DOUBT, DOUBT]
    assert kinds(first)[2] is Refused
    assert kinds(second)[0] is Refused
    assert filled(queue, 9) == [b"b1", b"2"]


async def test_what_comes_behind_a_failure_that_nobody_was_told_of_is_refused_as_well() -> None:
    queue = Queue("orders", 3)
    first = sent(queue, "a", "b")
    filled(queue, 1)
    queue.fail(DOUBT)
    early = sent(queue, "a")  # its publisher cannot have known
    first.over = True
    late = sent(queue, "a")  # it knows, and tries again
    assert kinds(early) == [Refused]
    assert filled(queue, 9) == [b"a0"]
    assert late.results == [NO_ANSWER]


async def test_what_nobody_waits_for_any_more_is_not_sent_and_not_changed() -> None:
    queue = Queue("orders", 3)
    first, second = sent(queue, "a", "b"), sent(queue, "c")
    filled(queue, 1)
    first.over = True
    results = list(first.results)
    queue.fail(DOUBT)
    assert first.results == results
    assert filled(queue, 1) == [b"c0"]
    second.over = True
    queue.confirm(7)
    assert second.results == [NO_ANSWER]  # as its publisher was told
    third = sent(queue, "d")
    assert filled(queue, 1) == [b"d0"]
    third.over = True
    queue.take_back()
    assert not queue.waits


async def test_a_deadline_refuses_what_waits_behind_and_lets_a_second_attempt_through() -> None:
    queue = Queue("orders", 3)
    first, second = sent(queue, "a"), sent(queue, "a", "b")
    filled(queue, 1)
    assert first.doubtful == {b"a"}
    queue.refuse_behind(first.doubtful)
    first.over = True
    again = sent(queue, "a")
    queue.fail(DOUBT)  # the producer that was given up says so later
    assert kinds(second) == [Refused, Refused]
    assert second.results[1] == QUEUED
    assert filled(queue, 9) == [b"b1", b"a0"]
    assert again.results == [NO_ANSWER]


async def test_what_could_not_be_handed_over_comes_first_again() -> None:
    queue = Queue("orders", 3)
    sending = sent(queue, "a", "b", "c")
    filled(queue, 2)
    queue.take_back()
    assert sending.results == [QUEUED] * 3
    assert filled(queue, 9) == [b"a0", b"b1", b"c2"]
