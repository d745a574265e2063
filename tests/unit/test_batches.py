"""Handlers that take a list: how batches form, and what becomes of the messages of one that fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.stand_ins import Bench, consuming, message, until
from waybill import (
    App,
    Batch,
    BatchHandler,
    CircuitBreaker,
    ConfigurationError,
    Delivery,
    ItemsFailed,
    Reject,
    Retry,
    RetryAfter,
    Settings,
    Topic,
)
from waybill.clock import TestClock
from waybill.outcomes import Ack, DeadLetter, Defer

MEMORY = Settings(url="memory://")


@dataclass
class Reading:
    sensor: str
    value: int


readings = Topic("readings", Reading, key=lambda reading: reading.sensor)
alarms = Topic("alarms", str, unrouted="accept")


def several(count: int, sensor: str | None = None) -> list[Reading]:
    return [Reading(sensor or f"s{number}", number) for number in range(count)]


async def test_a_full_batch_does_not_wait() -> None:
    app, sizes = App("store", settings=MEMORY), list[int]()

    @app.consume(readings, batch=Batch(10, wait=60), concurrency=1)
    async def store(batch: list[Reading]) -> None:
        sizes.append(len(batch))

    async with app.running():
        await app.publish_many(readings, several(30))
        await until(lambda: sizes == [10, 10, 10])


async def test_what_does_not_fill_a_batch_comes_when_its_first_has_waited() -> None:
    app, came = App("store", settings=MEMORY), list[float]()
    loop = asyncio.get_running_loop()

    @app.consume(readings, batch=Batch(10, wait=0.3))
    async def store(batch: list[Reading]) -> None:
        assert [reading.value for reading in batch] == [0, 1, 2]
        came.append(loop.time())

    async with app.running():
        began = loop.time()
        await app.publish_many(readings, several(3))
        await until(lambda: came)
    assert came[0] - began >= 0.29


async def test_a_window_that_is_full_does_not_wait_for_more() -> None:
    app, sizes = App("store", settings=MEMORY), list[int]()

    @app.consume(readings, batch=Batch(4, wait=60), concurrency=1, window=4, ordered=True)
    async def store(batch: list[Reading]) -> None:
        sizes.append(len(batch))

    async with app.running():
        await app.publish_many(readings, several(4, "one"))  # one key: one at a time, so a batch cannot fill
        await until(lambda: sizes[:1] == [1])


async def test_items_that_fail_are_judged_each_and_the_others_are_done() -> None:
    app = App("store")
    tried: dict[int, list[int]] = {}

    @app.consume(readings, batch=10, retry=Retry.fixed(3, delay=5))
    async def store(batch: list[Reading], deliveries: list[Delivery[Reading]]) -> None:
        failures: dict[int, BaseException] = {}
        for place, (reading, delivery) in enumerate(zip(batch, deliveries, strict=True)):
            tried.setdefault(reading.value, []).append(delivery.attempt)
            if reading.value == 3:
                failures[place] = ValueError("no")
            elif reading.value == 5:
                failures[place] = Reject("never")
            elif reading.value == 7 and delivery.attempt == 1:
                failures[place] = RetryAfter(60)
        if failures:
            raise ItemsFailed(failures)

    async with app.test() as bus:
        for reading in several(10):
            await bus.publish(readings, reading)
        await bus.drain()
        dead = {letter.record.reason: letter.record.attempts for letter in bus.dead_letters(readings)}
    assert dead == {"rejected": 1, "retries_exhausted": 3}
    assert tried == {n: [1] for n in range(10)} | {3: [1, 2, 3], 7: [1, 2]}


class Odd(ItemsFailed):
    """One that has not kept to the rules since it was made."""

    def __init__(self, failures: Any) -> None:
        super().__init__({})
        self.failures = failures


@pytest.mark.parametrize("make", [ItemsFailed, Odd])
@pytest.mark.parametrize("failures", [{0: "a text"}, {0.0: ValueError()}, {7: ValueError()}, {-1: ValueError()}])
async def test_what_names_no_messages_or_no_errors_fails_the_batch_as_a_whole(make: Any, failures: Any) -> None:
    bench, sizes = Bench(), list[int]()

    async def store(deliveries: Any) -> None:
        sizes.append(len(deliveries))
        if sizes == [2]:
            raise make(failures)

    bench.push(message("a"), message("b"))
    async with consuming(bench, store, batch=Batch(2, wait=5)):
        await until(lambda: sorted(bench.ids(Ack)) == ["a", "b"], seen=lambda: bench.journal)
    assert sizes == [2, 1, 1]
    assert sorted(bench.ids(Defer)) == ["a", "b"]


async def test_an_interrupt_that_is_named_and_was_never_raised_is_an_error_like_others() -> None:
    bench, sizes = Bench(), list[int]()
    bank = CircuitBreaker("bank", calls=10, counts=[KeyboardInterrupt])

    async def store(deliveries: Any) -> None:
        sizes.append(len(deliveries))
        raise ItemsFailed(dict.fromkeys(range(len(deliveries)), KeyboardInterrupt()))

    bench.push(message("a"))
    async with consuming(bench, store, batch=Batch(2, wait=0), gates=(bank,)):
        await until(lambda: bench.ids(DeadLetter), seen=lambda: bench.journal)
        assert bank.describe().failure_rate == 1.0
    assert bench.journal == ["Defer a", "Defer a", "DeadLetter a"]
    assert sizes == [1, 1, 1]


async def test_after_a_batch_failed_as_a_whole_each_is_tried_alone_so_the_innocent_are_done() -> None:
    app, batches = App("store"), list[list[int]]()

    @app.consume(readings, batch=Batch(10, wait=0.05), retry=Retry.fixed(3, delay=1))
    async def store(batch: list[Reading]) -> None:
        batches.append([reading.value for reading in batch])
        if any(reading.value == 4 for reading in batch):
            raise ValueError("one of them")

    async with app.test() as bus:
        await app.publish_many(readings, several(10))
        await bus.drain()
        assert [letter.message.body for letter in bus.dead_letters(readings)] == [b'{"sensor":"s4","value":4}']
    assert batches[0] == list(range(10))
    assert sorted(batches[1:]) == sorted([[n] for n in range(10)] + [[4]])


async def test_a_message_that_failed_before_stays_alone_behind_one_whose_time_is_over() -> None:
    bench, clock, gate = Bench(), TestClock(), asyncio.Event()
    batches: list[list[str]] = []

    async def store(deliveries: Any) -> None:
        batches.append([delivery.message.id for delivery in deliveries])
        await gate.wait()

    async with consuming(bench, store, concurrency=1, batch=Batch(3, wait=0), clock=clock) as consumer:
        bench.push(message("first"))
        await until(lambda: batches)
        bench.push(message("a"), message("expired", expires=datetime.fromtimestamp(clock.time() + 5, UTC)))
        bench.push(message("failed"), attempt=2)
        bench.push(message("b"))
        await until(lambda: consumer.gathering == 4)
        clock.advance(10)
        gate.set()
        await until(lambda: len(bench.settled) == 5)
    assert batches == [["first"], ["a"], ["failed"], ["b"]]


async def test_a_body_that_does_not_fit_fails_alone_and_the_handler_gets_the_rest() -> None:
    app, got = App("store"), list[list[int]]()
    raw = Topic("readings", bytes)

    @app.consume(readings, batch=Batch(3, wait=60))
    async def store(batch: list[Reading]) -> None:
        got.append([reading.value for reading in batch])

    async with app.test() as bus:
        await bus.publish(readings, Reading("a", 1))
        await bus.publish(raw, b"nonsense")
        await bus.publish(readings, Reading("b", 2))
        await bus.drain()
        assert [letter.reason for letter in bus.dead_letters(readings)] == ["decode_error"]
    assert got == [[1, 2]]


async def test_a_codec_that_breaks_fails_its_message_and_holds_up_nothing() -> None:
    class Brittle:
        content_type = "application/octet-stream"

        def encode(self, value: bytes) -> bytes:
            return value

        def decode(self, body: bytes) -> bytes:
            if body == b"break":
                raise KeyError("not a DecodeError")
            return body

    app, got = App("store"), list[bytes]()
    raw = Topic("raw", bytes, codec=Brittle())

    @app.consume(raw, batch=Batch(2, wait=0.05), concurrency=1, retry=Retry.fixed(2, delay=1))
    async def store(batch: list[bytes]) -> None:
        got.extend(batch)

    async with app.test() as bus:
        for body in (b"break", b"1", b"2"):
            await bus.publish(raw, body)
        await bus.drain()
        assert [letter.reason for letter in bus.dead_letters(raw)] == ["retries_exhausted"]
    assert sorted(got) == [b"1", b"2"]


async def test_ordered_batches_keep_each_keys_order_also_over_a_failure() -> None:
    app = App("store")
    done: dict[str, list[int]] = {"a": [], "b": []}
    failed = set[int]()

    @app.consume(readings, batch=Batch(5, wait=0.01), ordered=True, retry=Retry.fixed(3, delay=1))
    async def store(batch: list[Reading]) -> None:
        assert len({reading.sensor for reading in batch}) == len(batch)
        failures: dict[int, BaseException] = {}
        for place, reading in enumerate(batch):
            if reading.value % 4 == 1 and reading.value not in failed:
                failed.add(reading.value)
                failures[place] = ValueError("the first time")
            else:
                done[reading.sensor].append(reading.value)
        if failures:
            raise ItemsFailed(failures)

    async with app.test() as bus:
        for number in range(20):
            await bus.publish(readings, Reading("ab"[number % 2], number))
        await bus.drain()
    assert done == {"a": list(range(0, 20, 2)), "b": list(range(1, 20, 2))}
    assert len(failed) == 5


async def test_a_plain_function_takes_batches_in_a_thread() -> None:
    app, names = App("store", settings=MEMORY), list[str]()

    @app.consume(readings, batch=Batch(5, wait=0.01))
    def store(batch: list[Reading]) -> None:
        names.append(f"{len(batch)} {threading.current_thread() is threading.main_thread()}")

    async with app.running():
        await app.publish_many(readings, several(5))
        await until(lambda: names == ["5 False"])


async def test_a_batch_is_cancelled_when_its_time_is_over_and_its_messages_count_an_attempt() -> None:
    app, attempts = App("store", settings=MEMORY), list[int]()

    @app.consume(readings, batch=Batch(3, wait=0.01), timeout=0.1, retry=Retry.fixed(2, delay=0.01))
    async def store(_batch: list[Reading], deliveries: list[Delivery[Reading]]) -> None:
        attempts.extend(delivery.attempt for delivery in deliveries)
        if deliveries[0].attempt == 1:
            await asyncio.sleep(60)

    async with app.running():
        await app.publish_many(readings, several(3))
        await until(lambda: attempts == [1, 1, 1, 2, 2, 2])


async def test_what_a_batch_publishes_for_one_of_its_messages_has_the_same_id_each_time() -> None:
    app = App("store")

    @app.consume(readings, batch=Batch(5, wait=0.01), retry=Retry.fixed(2, delay=1))
    async def store(batch: list[Reading], deliveries: list[Delivery[Reading]]) -> None:
        for reading, delivery in zip(batch, deliveries, strict=True):
            await app.publish(alarms, reading.sensor, cause=delivery)
        if len(batch) > 1:
            raise ValueError("after publishing")

    async with app.test() as bus:
        await app.publish_many(readings, several(3))
        await bus.drain()
        ids = [message.id for message in bus.messages(alarms)]
        causes = {message.causation_id for message in bus.messages(alarms)}
        sent = {message.id for message in bus.messages(readings)}
    assert len(ids) == 6
    assert set(ids[:3]) == set(ids[3:])
    assert causes == sent


async def test_shutdown_gives_back_a_batch_that_is_still_gathering() -> None:
    url = "memory://gathering"
    seen: list[int] = []
    keeper = App("keeper", settings=Settings(url=url))
    async with keeper.running():  # keeps the memory
        app = App("store", settings=Settings(url=url))

        @app.consume(readings, batch=Batch(10, wait=60))
        async def store(batch: list[Reading]) -> None:
            seen.extend(reading.value for reading in batch)

        async with app.running():
            await app.publish_many(readings, several(3))
            await until(lambda: app.consumer(readings).gathering == 3)
        again = App("store", settings=Settings(url=url))

        @again.consume(readings, batch=Batch(3, wait=60))
        async def store_again(batch: list[Reading], deliveries: list[Delivery[Reading]]) -> None:
            assert {delivery.attempt for delivery in deliveries} == {1}
            seen.extend(reading.value for reading in batch)

        async with again.running():
            await until(lambda: seen == [0, 1, 2])


async def test_batch_middleware_wraps_batches_and_middleware_must_not_be_forgotten() -> None:
    around: list[str] = []

    def noting(handler: BatchHandler) -> BatchHandler:
        async def noted(deliveries: Sequence[Delivery[Any]]) -> None:
            around.append(f"{len(deliveries)}")
            await handler(deliveries)
            around.append("after")

        return noted

    app = App("store", settings=MEMORY, batch_middleware=[noting])

    @app.consume(readings, batch=Batch(2, wait=1))
    async def store(batch: list[Reading]) -> None:
        around.append(f"{[reading.value for reading in batch]}")

    async with app.running():
        await app.publish_many(readings, several(2))
        await until(lambda: around == ["2", "[0, 1]", "after"])

    forgetful = App("store", middleware=[lambda handler: handler])
    with pytest.raises(ConfigurationError, match="batch_middleware"):
        forgetful.consume(readings, batch=2)(store)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Batch(0), "at least 1"),
        (lambda: Batch(2, wait=-1), "not negative"),
        (lambda: App("a").consume(readings, batch=100, window=10), "batches short"),
    ],
)
def test_batches_that_cannot_work_are_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        make()


def test_a_handler_that_takes_the_wrong_list_is_refused_when_registering() -> None:
    app = App("a")

    async def one(reading: Reading) -> None: ...
    async def many(batch: list[Reading]) -> None: ...
    async def others(batch: list[Batch]) -> None: ...

    with pytest.raises(ConfigurationError, match=r"list\[Reading\]"):
        app.consume(readings, batch=5)(one)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="batch=100"):
        app.consume(readings)(many)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="carries Reading"):
        app.consume(readings, batch=5)(others)  # type: ignore[call-overload]
