"""What becomes of a delivery: outcomes, lanes, the window, leases, shutdown, and brokers that can do less."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
import pytest

from waybill import ConfigurationError, DecodeError, LeaseLost, Reject, Retry, RetryAfter
from waybill.adapter import Describes, Revoking
from waybill.clock import TestClock
from waybill.errors import LONGEST, BrokerUnavailable
from waybill.handling import current_handling
from waybill.message import Delivery, Message
from waybill.observing import Handled
from waybill.options import ConsumerOptions
from waybill.outcomes import (
    DONE,
    Ack,
    DeadLetter,
    Defer,
    Failed,
    Lost,
    Refused,
    Release,
    Settled,
    SettleResult,
    Unknown,
)

from .stand_ins import CAN, LEAST, Bench, consuming, message, never, until

HOLDS = msgspec.structs.replace(CAN, holds_key_from=0.0)
"""A broker that keeps a key's later messages back by itself."""
UNSURE = msgspec.structs.replace(CAN, acks_surely=False)


class Recorder:
    """A handler that notes what it is given, and does for each id what it is told."""

    def __init__(self, **acts: Any) -> None:
        self.acts = acts
        self.seen: list[tuple[str, int]] = []
        self.ended: list[str] = []
        self.running = 0
        self.most = 0
        self.cancelled: list[str] = []

    @property
    def ids(self) -> list[str]:
        return [ident for ident, _ in self.seen]

    async def __call__(self, delivery: Delivery[Any]) -> None:
        ident = delivery.message.id
        self.seen.append((ident, delivery.attempt))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            act = self.acts.get(ident, self.acts.get("default"))
            if isinstance(act, BaseException):
                raise act
            if isinstance(act, asyncio.Event):
                await act.wait()
            elif callable(act):
                await act(delivery)
            self.ended.append(ident)
        except asyncio.CancelledError:
            self.cancelled.append(ident)
            raise
        finally:
            self.running -= 1


def reasons(bench: Bench) -> list[tuple[str, str]]:
    return [(i, s.record.reason) for i, s in bench.settled if isinstance(s, DeadLetter)]


# ------------------------------------------------------------------ outcomes


async def test_a_handler_that_returns_acknowledges() -> None:
    bench, handler = Bench(), Recorder()
    async with consuming(bench, handler):
        bench.push(message("a"))
        await until(lambda: bench.ids(Ack) == ["a"])
    assert handler.seen == [("a", 1)]


async def test_a_handler_that_raises_is_tried_again_and_then_dead_lettered_once() -> None:
    bench, handler = Bench(), Recorder(a=ValueError("no"))
    async with consuming(bench, handler):
        bench.push(message("a"), message("b"))
        await until(lambda: reasons(bench) == [("a", "retries_exhausted")])
    assert [attempt for ident, attempt in handler.seen if ident == "a"] == [1, 2, 3]
    assert bench.ids(Defer) == ["a", "a"]
    assert bench.ids(DeadLetter) == ["a"]
    assert bench.ids(Ack) == ["b"]


async def test_a_reject_is_dead_lettered_at_the_first_attempt_with_its_reason() -> None:
    bench = Bench()
    async with consuming(bench, Recorder(a=Reject("no such customer"))):
        bench.push(message("a"))
        await until(lambda: bench.ids(DeadLetter))
    record = cast("DeadLetter", bench.settled[0][1]).record
    assert (record.reason, record.detail, record.attempts) == ("rejected", "no such customer", 1)


@pytest.mark.parametrize("reason", [None, ValueError("inner"), 7, b"\xff", "\ud800"])
async def test_whatever_a_reject_is_given_as_reason_it_dead_letters(reason: Any) -> None:
    bench = Bench()
    async with consuming(bench, Recorder(a=Reject(reason)), concurrency=1):
        bench.push(message("a"), message("b"))
        await until(lambda: bench.ids(DeadLetter) == ["a"] and bench.ids(Ack) == ["b"])


async def test_retry_after_is_honoured_and_counts_as_an_attempt() -> None:
    bench = Bench()
    async with consuming(bench, Recorder(a=RetryAfter(0.05)), retry=Retry.fixed(2, delay=60)):
        bench.push(message("a"))
        await until(lambda: reasons(bench) == [("a", "retries_exhausted")])
    defer = next(s for _, s in bench.settled if isinstance(s, Defer))
    assert (defer.after, defer.attempts) == (0.05, 1)


async def test_retry_after_makes_no_attempt_past_the_greatest_age() -> None:
    bench = Bench()
    async with consuming(bench, Recorder(a=RetryAfter(3600)), retry=Retry.fixed(5, delay=0.01, max_age=60)):
        bench.push(message("a"))
        await until(lambda: bench.settled)
    assert reasons(bench) == [("a", "expired")]


@pytest.mark.parametrize("delay", [float("inf"), 1e14, timedelta.max])
def test_an_endless_delay_is_refused_where_it_is_made(delay: Any) -> None:
    with pytest.raises(ValueError, match="century"):
        RetryAfter(delay)


@pytest.mark.parametrize("native", [frozenset(), frozenset({Defer})])
async def test_the_longest_delay_stops_nothing_else(native: Any) -> None:
    bench = Bench(native=LEAST | native)
    async with consuming(bench, Recorder(a=RetryAfter(LONGEST)), grace=0.1):
        bench.push(message("a"))
        await until(lambda: not bench.ready)
        bench.push(message("b"))
        await until(lambda: "b" in bench.ids(Ack))
        await until(lambda: any(line.endswith(" a") for line in bench.journal))


async def test_what_does_not_decode_is_dead_lettered_at_once() -> None:
    def decode(_: Message) -> Any:
        raise DecodeError("not JSON")

    async def handler(delivery: Delivery[Any]) -> None:
        _ = delivery.value

    bench = Bench()
    async with consuming(bench, handler, decode=decode):
        bench.push(message("a", body=b"\xff"))
        await until(lambda: reasons(bench) == [("a", "decode_error")])


async def test_a_decode_error_of_the_handlers_own_is_a_failure_like_any_other() -> None:
    async def handler(delivery: Delivery[Any]) -> None:
        _ = delivery.value
        raise DecodeError("some other thing")

    bench = Bench()
    async with consuming(bench, handler):
        bench.push(message("a"))
        await until(lambda: reasons(bench) == [("a", "retries_exhausted")])


async def test_a_handler_that_runs_too_long_is_cancelled_and_tried_again() -> None:
    bench, handler = Bench(), Recorder(a=asyncio.Event())
    async with consuming(bench, handler, timeout=0.05, retry=Retry.fixed(2, delay=0.01)):
        bench.push(message("a"))
        await until(lambda: reasons(bench) == [("a", "retries_exhausted")])
    record = cast("DeadLetter", bench.settled[-1][1]).record
    assert record.error == "waybill.errors.HandlerTimeout"
    assert handler.cancelled == ["a", "a"]


async def test_a_cancellation_the_handler_makes_itself_counts_as_a_failure() -> None:
    bench = Bench()
    async with consuming(bench, Recorder(a=asyncio.CancelledError()), retry=Retry.none()):
        bench.push(message("a"))
        await until(lambda: reasons(bench) == [("a", "retries_exhausted")])


async def test_an_error_whose_text_is_broken_is_dead_lettered_all_the_same() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("not even this")

    bench = Bench()
    async with consuming(bench, Recorder(a=Broken(), b=ValueError("\ud800" * 5000)), retry=Retry.none()):
        bench.push(message("a"), message("b"))
        await until(lambda: sorted(bench.ids(DeadLetter)) == ["a", "b"])


async def test_a_handler_may_ask_for_more_time() -> None:
    async def slow(delivery: Delivery[Any]) -> None:
        await delivery.extend(5)
        await asyncio.sleep(0.25)

    bench = Bench()
    async with consuming(bench, slow, timeout=0.1):
        bench.push(message("a"))
        await until(lambda: bench.ids(Ack) == ["a"])


async def test_more_time_for_a_delivery_that_a_middleware_has_changed() -> None:
    async def slow(delivery: Delivery[Any]) -> None:
        await msgspec.structs.replace(delivery, native="something").extend(5)

    bench = Bench()
    async with consuming(bench, slow, retry=Retry.none()):
        bench.push(message("a"))
        await until(lambda: bench.settled)
    assert bench.ids(Ack) == ["a"]


async def test_more_time_is_refused_once_the_lease_is_gone() -> None:
    raised: list[BaseException] = []

    async def handler(delivery: Delivery[Any]) -> None:
        bench.expired.add("a")
        try:
            await delivery.extend(5)
        except LeaseLost as error:
            raised.append(error)
            raise

    bench = Bench()
    async with consuming(bench, handler):
        bench.push(message("a"))
        await until(lambda: raised)
    assert bench.settled == []


async def test_a_delivery_beyond_its_attempts_is_dead_lettered_unhandled() -> None:
    bench, handler = Bench(), Recorder()
    async with consuming(bench, handler):
        bench.push(message("a"), attempt=4)
        await until(lambda: reasons(bench) == [("a", "crashed")])
    assert handler.seen == []


async def test_an_expired_message_is_dead_lettered_unhandled() -> None:
    bench, handler = Bench(), Recorder()
    async with consuming(bench, handler):
        bench.push(message("a", expires=datetime.now(UTC) - timedelta(seconds=1)))
        await until(lambda: reasons(bench) == [("a", "expired")])
    assert handler.seen == []


async def test_a_message_that_expires_while_it_waits_for_its_turn_is_not_handled() -> None:
    gate, clock = asyncio.Event(), TestClock()
    bench, handler = Bench(), Recorder(a=gate)
    async with consuming(bench, handler, concurrency=1, clock=clock):
        soon = datetime.fromtimestamp(clock.time() + 5, UTC)
        bench.push(message("a"), message("b", expires=soon))
        await until(lambda: handler.ids == ["a"] and len(bench.held) == 2)
        clock.advance(10)
        gate.set()
        await until(lambda: len(bench.settled) == 2)
    assert reasons(bench) == [("b", "expired")]


async def test_context_variables_end_with_the_handling_that_set_them() -> None:
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    seen: list[str] = []

    async def handler(delivery: Delivery[Any]) -> None:
        seen.append(tenant.get())
        tenant.set(delivery.message.id)

    bench = Bench()
    async with consuming(bench, handler, concurrency=1):
        bench.push(*(message(f"m{n}") for n in range(5)))
        await until(lambda: len(bench.ids(Ack)) == 5)
    assert seen == ["nobody"] * 5


async def test_what_a_failed_handler_did_to_the_headers_is_not_seen_by_the_retry() -> None:
    seen: list[dict[str, str]] = []

    async def handler(delivery: Delivery[Any]) -> None:
        headers = delivery.message.headers
        seen.append(dict(headers))
        with contextlib.suppress(TypeError):
            cast("dict[str, str]", headers)["mark"] = "1"
        raise ValueError

    bench = Bench()
    async with consuming(bench, handler, ordered=True, retry=Retry.fixed(2, delay=0.01)):
        bench.push(message("a", key="k", headers={"x": "y"}))
        await until(lambda: bench.ids(DeadLetter))
    assert seen == [{"x": "y"}, {"x": "y"}]


async def test_each_attempt_counts_what_it_publishes_from_the_beginning() -> None:
    counted: list[list[int]] = []

    async def handler(_: Delivery[Any]) -> None:
        handling = current_handling.get()
        assert handling is not None
        counted.append([handling.ordinal("audit"), handling.ordinal("audit"), handling.ordinal("other")])
        raise ValueError

    bench = Bench()
    async with consuming(bench, handler, ordered=True):
        bench.push(message("a", key="k"))
        await until(lambda: bench.ids(DeadLetter))
    assert counted == [[0, 1, 0]] * 3, "the ids of what a second attempt publishes would differ from the first's"


# ------------------------------------------------------------------ the window


@pytest.mark.parametrize("concurrency", [1, 3, 10])
async def test_exactly_as_many_handlers_run_as_asked_for(concurrency: int) -> None:
    gate = asyncio.Event()
    bench, handler = Bench(), Recorder(default=gate)
    async with consuming(bench, handler, concurrency=concurrency):
        bench.push(*(message(f"m{n}") for n in range(30)))
        await until(lambda: handler.running == concurrency)
        await never(lambda: handler.running != concurrency, during=0.05)
        gate.set()
        await until(lambda: len(bench.ids(Ack)) == 30)
    assert handler.most == concurrency


async def test_no_more_is_held_than_the_window() -> None:
    gate = asyncio.Event()
    bench, handler = Bench(), Recorder(default=gate)
    async with consuming(bench, handler, concurrency=2, window=5):
        bench.push(*(message(f"m{n}") for n in range(50)))
        await until(lambda: len(bench.held) == 5)
        gate.set()
        await until(lambda: len(bench.ids(Ack)) == 50)
    assert bench.most_held == 5


async def test_bodies_are_held_up_to_the_bytes_of_the_window() -> None:
    gate = asyncio.Event()
    bench, handler = Bench(), Recorder(default=gate)
    async with consuming(bench, handler, concurrency=2, window=100, window_bytes=20_000):
        bench.push(*(message(f"m{n}", body=bytes(4000)) for n in range(60)))
        await until(lambda: handler.running == 2)
        await never(lambda: len(bench.held) > 25, during=0.05)
        gate.set()
        await until(lambda: len(bench.ids(Ack)) == 60)


@pytest.mark.parametrize("size", [1, 1000, 100_000])
async def test_a_body_larger_than_the_whole_window_is_handled_all_the_same(size: int) -> None:
    bench, handler = Bench(), Recorder()
    async with consuming(bench, handler, window_bytes=1):
        bench.push(*(message(f"m{n}", body=bytes(size)) for n in range(10)))
        await until(lambda: len(bench.ids(Ack)) == 10)


async def test_the_window_is_given_back_after_every_outcome() -> None:
    acts: dict[str, Any] = {f"f{n}": ValueError() for n in range(20)} | {f"r{n}": Reject() for n in range(20)}
    bench, handler = Bench(), Recorder(**acts)
    async with consuming(bench, handler, concurrency=2, window=4, retry=Retry.fixed(2, delay=0.01)):
        bench.push(*(message(f"{kind}{n}") for n in range(20) for kind in "far"))
        await until(lambda: len(bench.ids(Ack)) == 20 and len(bench.ids(DeadLetter)) == 40)
        bench.push(*(message(f"z{n}") for n in range(20)))
        await until(lambda: len(bench.ids(Ack)) == 40)


async def test_a_full_window_whose_messages_were_all_taken_away_fetches_again() -> None:
    bench = Bench()
    handler = Recorder(a=ValueError(), b=ValueError())
    async with consuming(bench, handler, ordered=True, concurrency=2, window=2, retry=Retry.fixed(3, delay=60)):
        bench.push(message("a", key="ka"), message("b", key="kb"))
        await until(lambda: len(handler.seen) == 2 and not handler.running)
        await asyncio.sleep(0.05)  # both wait in place, and the window is full
        bench.revoke("a", "b")
        bench.push(message("c", key="kc"))
        await until(lambda: bench.ids(Ack) == ["c"])


async def test_a_handler_freed_by_a_retry_in_place_takes_another_key() -> None:
    gate = asyncio.Event()

    async def fail(_: Delivery[Any]) -> None:
        await gate.wait()
        raise ValueError

    bench, handler = Bench(), Recorder(a0=fail)
    async with consuming(bench, handler, ordered=True, concurrency=1, window=8, retry=Retry.fixed(2, delay=60)):
        bench.push(*(message(f"a{n}", key="ka") for n in range(7)))
        await until(lambda: len(bench.held) == 7)
        await asyncio.sleep(0.02)
        bench.push(message("b", key="kb"))
        gate.set()
        await until(lambda: bench.ids(Ack) == ["b"])


# ------------------------------------------------------------------ lanes


async def test_messages_of_one_key_are_handled_in_order_and_one_at_a_time() -> None:
    running: dict[str, int] = {}
    seen: dict[str, list[str]] = {}

    async def handler(delivery: Delivery[Any]) -> None:
        key = cast("str", delivery.message.key)
        running[key] = running.get(key, 0) + 1
        assert running[key] == 1
        seen.setdefault(key, []).append(delivery.message.id)
        await asyncio.sleep(0.001)
        running[key] -= 1

    bench = Bench()
    async with consuming(bench, handler, ordered=True, concurrency=8):
        bench.push(*(message(f"{n:03}", key=f"k{n % 7}") for n in range(200)))
        await until(lambda: len(bench.ids(Ack)) == 200)
    assert all(ids == sorted(ids) for ids in seen.values())


async def test_a_slow_key_does_not_delay_another() -> None:
    gate = asyncio.Event()
    bench, handler = Bench(), Recorder(a0=gate)
    async with consuming(bench, handler, ordered=True, concurrency=2):
        bench.push(message("a0", key="a"), message("a1", key="a"), *(message(f"b{n}", key="b") for n in range(10)))
        await until(lambda: len(bench.ids(Ack)) == 10)
        assert "a1" not in handler.ids
        gate.set()
        await until(lambda: len(bench.ids(Ack)) == 12)


@pytest.mark.parametrize("can", [CAN, HOLDS], ids=["in place", "at the broker"])
async def test_a_failing_message_keeps_its_key_back_until_it_succeeds(can: Any) -> None:
    async def twice(delivery: Delivery[Any]) -> None:
        if delivery.attempt < 3:
            raise ValueError

    bench, handler = Bench(can=can), Recorder(a0=twice)
    async with consuming(bench, handler, ordered=True, retry=Retry.fixed(5, delay=0.03)):
        bench.push(message("a0", key="a"), message("b0", key="b"))
        await until(lambda: "b0" in handler.ids)
        await until(lambda: bench.ids(Ack) == ["b0", "a0"])
    assert [seen for seen in handler.seen if seen[0] == "a0"] == [("a0", 1), ("a0", 2), ("a0", 3)]


async def test_in_place_nothing_of_the_key_passes_a_failing_message_and_after_the_budget_it_goes_on() -> None:
    bench, handler = Bench(), Recorder(a0=ValueError())
    async with consuming(bench, handler, ordered=True):
        bench.push(*(message(f"a{n}", key="a") for n in range(3)))
        await until(lambda: bench.ids(Ack) == ["a1", "a2"])
    assert handler.ids == ["a0", "a0", "a0", "a1", "a2"]
    assert reasons(bench) == [("a0", "retries_exhausted")]


async def test_a_broker_that_holds_the_key_gets_the_followers_back_behind_the_failed_one_in_one_call() -> None:
    bench, handler = Bench(can=HOLDS), Recorder(a0=ValueError())
    async with consuming(bench, handler, ordered=True, retry=Retry.fixed(2, delay=30)):
        bench.push(*(message(f"a{n}", key="a") for n in range(4)))
        await until(lambda: bench.calls)
    assert [(ident, type(kind)) for ident, kind in bench.calls[0]] == [
        ("a0", Defer), ("a1", Release), ("a2", Release), ("a3", Release),
    ]  # fmt: skip


async def test_a_key_whose_retry_is_too_long_for_the_broker_is_not_closed_for_ever() -> None:
    can = msgspec.structs.replace(HOLDS, longest_defer=0.05)
    bench, handler = Bench(can=can), Recorder(a0=RetryAfter(0.2))
    async with consuming(bench, handler, ordered=True, grace=0.1, retry=Retry.fixed(2, delay=0.2)):
        bench.push(message("a0", key="a"), message("a1", key="a"))
        await until(lambda: "a1" in handler.ids)
    assert handler.ids == ["a0", "a0", "a1"]


async def test_messages_without_a_key_have_no_order_to_wait_for() -> None:
    gate = asyncio.Event()
    bench, handler = Bench(), Recorder(a=gate)
    async with consuming(bench, handler, ordered=True, concurrency=2):
        bench.push(message("a"), message("b"))
        await until(lambda: bench.ids(Ack) == ["b"])
        gate.set()


# ------------------------------------------------------------------ leases


async def test_a_lost_lease_cancels_the_handler_and_nothing_is_acknowledged() -> None:
    gate = asyncio.Event()
    bench, handler = Bench(lease=0.15), Recorder(a=gate)
    async with consuming(bench, handler):
        bench.push(message("a"))
        await until(lambda: handler.running)
        bench.expired.add("a")
        await until(lambda: handler.cancelled == ["a"])
    assert bench.settled == []


async def test_a_handler_that_shrugs_off_the_loss_of_its_lease_is_not_acknowledged() -> None:
    async def stubborn(_: Delivery[Any]) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    bench, handler = Bench(), Recorder(a=stubborn)
    handled: list[Handled] = []
    async with consuming(bench, handler, observers=[handled.append]):
        bench.push(message("a"))
        await until(lambda: handler.running)
        bench.revoke("a")
        await until(lambda: handled)
    assert isinstance(handled[0].result, Lost)
    assert bench.settled == []


async def test_a_message_lost_in_the_moment_its_handler_is_started_leaves_its_place_to_the_next() -> None:
    class Cut(Bench):
        async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
            deliveries = await super().receive(limit)
            asyncio.get_running_loop().call_soon(self.revoke, "lost")  # before the handler's task has taken a step
            return deliveries

    bench, handler = Cut(), Recorder()
    async with consuming(bench, handler, concurrency=1) as consumer:
        bench.push(message("lost"))
        await until(lambda: not bench.ready and not consumer.running and not consumer.held)
        bench.push(message("next"))
        await until(lambda: bench.ids(Ack) == ["next"])
    assert handler.ids == ["next"]


async def test_leases_are_renewed_while_a_handler_runs_longer_than_they_last() -> None:
    bench = Bench(lease=0.15)
    handler = Recorder(a=lambda _: until(lambda: bench.extensions >= 12))  # four leases
    async with consuming(bench, handler):
        bench.push(message("a"))
        await until(lambda: bench.ids(Ack) == ["a"])
    assert handler.seen == [("a", 1)]
    assert bench.extensions >= 3


async def test_who_has_lost_all_leases_in_an_outage_is_not_well_before_it_is_over() -> None:
    bench = Bench(lease=0.15)
    bench.extend_error = BrokerUnavailable("away")

    async def away(_: Any) -> None:
        raise BrokerUnavailable("away")

    bench.before_settle = away
    async with consuming(bench, Recorder()) as consumer:
        bench.push(message("a"))
        await until(lambda: "settlements wait: away" in (consumer.trouble or ""))
        await until(lambda: consumer.held == 0)
        await never(lambda: consumer.trouble is None)
        assert consumer.trouble == "leases cannot be renewed: away"
        bench.extend_error = None
        await until(lambda: consumer.trouble is None)


async def test_what_a_broker_keeps_leased_after_we_gave_it_up_comes_again() -> None:
    """Where one heartbeat keeps all leases, the broker does not notice that we could not renew one of them."""
    bench, handler = Bench(lease=0.15), Recorder(a=asyncio.Event())
    async with consuming(bench, handler) as consumer:
        bench.push(message("a"))
        await until(lambda: handler.running)
        bench.extend_error = BrokerUnavailable("away")
        await until(lambda: handler.cancelled == ["a"])
        await until(lambda: consumer.held == 0)
        handler.acts.clear()
        bench.extend_error = None
        await until(lambda: bench.ids(Ack) == ["a"])
    assert handler.seen == [("a", 1), ("a", 1)]


async def test_what_comes_before_a_message_that_was_given_up_could_be_given_back_is_not_handled_before_it() -> None:
    bench, handler = Bench(lease=0.15), Recorder(a=asyncio.Event())
    async with consuming(bench, handler, ordered=True) as consumer:
        bench.push(message("a", key="k"))
        await until(lambda: handler.running)
        bench.extend_error = BrokerUnavailable("away")
        await until(lambda: handler.cancelled == ["a"] and consumer.held == 0)
        handler.acts.clear()
        bench.push(message("b", key="k"))
        await until(lambda: bench.ids(Ack) == ["a", "b"])
        bench.extend_error = None
    assert handler.ids == ["a", "a", "b"]


async def test_what_is_fetched_while_a_message_that_was_given_up_goes_back_is_not_handled_before_it() -> None:
    taken = asyncio.Event()

    async def wait(settled: Sequence[Settled]) -> None:
        del settled
        await taken.wait()

    bench, handler = Bench(lease=0.15), Recorder(a=asyncio.Event())
    bench.before_settle = wait
    async with consuming(bench, handler, ordered=True) as consumer:
        bench.push(message("a", key="k"))
        await until(lambda: handler.running)
        bench.extend_error = BrokerUnavailable("away")
        await until(lambda: handler.cancelled == ["a"] and consumer.held == 0)
        handler.acts.clear()
        bench.extend_error = None
        await until(lambda: consumer.settling)
        bench.push(message("b", key="k"), message("x", key="other"))
        await until(lambda: "x" in handler.ids)
        taken.set()
        await until(lambda: len(bench.ids(Ack)) == 3)
    assert handler.ids == ["a", "x", "a", "b"]


async def test_what_has_not_started_and_is_taken_away_is_never_handled() -> None:
    gate = asyncio.Event()
    bench, handler = Bench(), Recorder(a=gate)
    async with consuming(bench, handler, concurrency=1):
        bench.push(message("a"), message("b"), message("c"))
        await until(lambda: len(bench.held) == 3)
        bench.revoke("b")
        gate.set()
        await until(lambda: bench.ids(Ack) == ["a", "c"])
    assert handler.ids == ["a", "c"]


async def test_a_lost_message_gives_back_those_behind_it_in_order() -> None:
    gate = asyncio.Event()
    bench, handler = Bench(), Recorder(a0=gate)
    async with consuming(bench, handler, ordered=True):
        bench.push(*(message(f"a{n}", key="a") for n in range(4)))
        await until(lambda: handler.running and len(bench.held) == 4)
        bench.revoke("a0")
        await until(lambda: len(bench.ids(Release)) == 3)
        assert bench.ids(Release) == ["a1", "a2", "a3"]
        await until(lambda: bench.ids(Ack) == ["a1", "a2", "a3"])


async def test_what_is_fetched_while_an_earlier_message_of_its_key_is_given_back_is_not_handled_before_it() -> None:
    taken = asyncio.Event()

    async def wait(settled: Sequence[Settled]) -> None:
        del settled
        await taken.wait()

    bench, handler = Bench(), Recorder()
    bench.before_settle = wait
    async with consuming(bench, handler, ordered=True):
        bench.lease = -1.0  # the process was stopped while it fetched: when it goes on, the lease is over
        bench.push(message("a", key="k"))
        await until(lambda: bench.held)
        bench.lease = 30.0
        bench.push(message("b", key="k"), message("x", key="other"))
        await until(lambda: "x" in handler.ids)
        taken.set()
        await until(lambda: len(bench.ids(Ack)) == 3)
    assert handler.ids == ["x", "a", "b"]


async def test_what_is_fetched_while_a_lost_messages_followers_are_given_back_is_not_handled_before_them() -> None:
    gate, taken = asyncio.Event(), asyncio.Event()

    async def wait(settled: Sequence[Settled]) -> None:
        del settled
        await taken.wait()

    bench, handler = Bench(), Recorder(busy=gate)
    bench.before_settle = wait
    async with consuming(bench, handler, ordered=True, concurrency=1):
        bench.push(message("busy"), message("a", key="k"), message("b", key="k"))
        await until(lambda: len(bench.held) == 3)
        bench.revoke("a")
        bench.push(message("c", key="k"), message("x", key="other"))
        await until(lambda: len(bench.held) == 4)
        gate.set()
        await until(lambda: "x" in handler.ids)
        taken.set()
        await until(lambda: len(bench.ids(Ack)) == 4)
    assert handler.ids == ["busy", "x", "b", "c"]


async def test_a_key_waiting_in_place_works_again_when_its_partition_comes_back() -> None:
    bench, handler = Bench(), Recorder(a0=ValueError())
    async with consuming(bench, handler, ordered=True, retry=Retry.fixed(3, delay=0.2)):
        bench.push(*(message(f"a{n}", key="a") for n in range(3)), partition="p")
        await until(lambda: handler.ids == ["a0"] and not handler.running)
        await asyncio.sleep(0.01)
        bench.notify(Revoking(frozenset({"p"})))
        await until(lambda: len(bench.ids(Release)) == 3)
        assert bench.ids(Release) == ["a0", "a1", "a2"]
        handler.acts.clear()
        await until(lambda: bench.ids(Ack) == ["a0", "a1", "a2"])


async def test_a_revoked_partition_releases_what_has_not_started_and_settles_what_runs() -> None:
    gate = asyncio.Event()
    bench, handler = Bench(), Recorder(a0=gate, b0=gate)
    async with consuming(bench, handler, ordered=True, concurrency=2):
        bench.push(*(message(f"{key}{n}", key=key) for n in range(4) for key in "ab"), partition="p")
        await until(lambda: handler.running == 2 and len(bench.held) == 8)
        bench.notify(Revoking(frozenset({"p"})))
        await until(lambda: len(bench.ids(Release)) == 6)
        for key in "ab":
            released = [ident for ident in bench.ids(Release) if ident[0] == key]
            assert released == sorted(released)
        gate.set()
        await until(lambda: {"a0", "b0"} <= set(bench.ids(Ack)))


async def test_what_a_revoked_partition_had_not_started_is_given_back_in_the_order_of_its_key() -> None:
    gate = asyncio.Event()
    bench, handler = Bench(), Recorder(b=gate)
    async with consuming(bench, handler, ordered=True, concurrency=1, window=100):
        bench.push(message("b", key="b"), partition="other")
        bench.push(*(message(f"a{n:02}", key="a") for n in range(40)), partition="p")
        await until(lambda: len(bench.held) == 41)
        bench.notify(Revoking(frozenset({"p"})))
        await until(lambda: len(bench.ids(Release)) == 40)
        gate.set()
    assert bench.ids(Release)[:40] == [f"a{n:02}" for n in range(40)]


# ------------------------------------------------------------------ shutdown


async def test_stop_releases_what_has_not_started_and_lets_what_runs_finish() -> None:
    gate = asyncio.Event()
    bench, handler = Bench(), Recorder(a=gate, b=gate)
    async with consuming(bench, handler, concurrency=2) as consumer:
        bench.push(*(message(name) for name in "abcd"))
        await until(lambda: handler.running == 2 and len(bench.held) == 4)
        stopping = asyncio.ensure_future(consumer.stop(2.0))
        await until(lambda: sorted(bench.ids(Release)) == ["c", "d"])
        gate.set()
        await stopping
    assert sorted(bench.ids(Ack)) == ["a", "b"]
    assert sorted(handler.ids) == ["a", "b"]
    assert bench.left


async def test_stop_cancels_what_does_not_finish_and_releases_it_uncounted() -> None:
    bench, handler = Bench(), Recorder(a=asyncio.Event())
    async with consuming(bench, handler, grace=0.05, retry=Retry.none()):
        bench.push(message("a"))
        await until(lambda: handler.running)
    assert bench.settled == [("a", Release())]


async def test_a_handler_that_answers_the_shutdown_with_another_error_is_not_charged_for_it() -> None:
    async def translate(_: Delivery[Any]) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionError("connection closed") from None

    bench, handler = Bench(), Recorder(a=translate)
    async with consuming(bench, handler, grace=0.05, retry=Retry.none()):
        bench.push(message("a"))
        await until(lambda: handler.running)
    assert bench.settled == [("a", Release())]


async def test_stop_gives_a_key_back_in_order_when_its_first_message_was_running() -> None:
    bench, handler = Bench(), Recorder(a0=asyncio.Event())
    async with consuming(bench, handler, ordered=True, grace=0.05):
        bench.push(*(message(f"a{n}", key="a") for n in range(3)))
        await until(lambda: handler.running and len(bench.held) == 3)
    assert bench.ids(Release) == ["a0", "a1", "a2"]


async def test_stop_gives_a_key_back_in_order_when_its_first_message_waited_in_place() -> None:
    bench, handler = Bench(), Recorder(a0=ValueError())
    async with consuming(bench, handler, ordered=True, grace=0.05, retry=Retry.fixed(3, delay=60)):
        bench.push(*(message(f"a{n}", key="a") for n in range(3)))
        await until(lambda: handler.seen and len(bench.held) == 3)
        await asyncio.sleep(0.01)
    assert bench.ids(Release) == ["a0", "a1", "a2"]
    assert bench.settled[bench.ids(Release).index("a0")][1] == Release(1), "its one handling is not forgotten"


@pytest.mark.parametrize("how", ["lost", "given back"])
async def test_what_waited_for_its_retry_and_is_held_no_more_takes_no_memory(how: str) -> None:
    async def fail(_: Delivery[Any]) -> None:
        raise ValueError

    def kept() -> bool:
        gc.collect()
        return any(isinstance(one, Message) and one.id == "gone" for one in gc.get_objects())

    bench, handler = Bench(), Recorder(gone=fail)
    async with consuming(bench, handler, ordered=True, grace=0.05, retry=Retry.fixed(3, delay=60)) as consumer:
        bench.push(message("gone", key="a", headers={"a": "b"}))
        await until(lambda: handler.seen and not consumer.running)
        assert kept()
        if how == "lost":
            bench.revoke("gone")
            await until(lambda: not consumer.held)
    bench.ready.clear()
    await until(lambda: not kept(), within=5)


async def test_stop_while_a_fetch_waits_is_prompt() -> None:
    bench = Bench()
    loop = asyncio.get_running_loop()
    async with consuming(bench, Recorder()):
        await until(lambda: bench.asked)
        before = loop.time()
    assert loop.time() - before < 0.5


async def test_stop_ends_everything_though_the_source_cannot_be_quieted() -> None:
    bench, handler = Bench(), Recorder(a=lambda _: asyncio.sleep(0.05))
    bench.quiesce_error = BrokerUnavailable("gone")
    before = asyncio.all_tasks()
    with contextlib.suppress(BrokerUnavailable):
        async with consuming(bench, handler):
            bench.push(message("a"))
            await until(lambda: handler.running)
    leaked = asyncio.all_tasks() - before
    for task in leaked:
        task.cancel()
    await asyncio.gather(*leaked, return_exceptions=True)
    assert not leaked
    assert bench.ids(Ack) == ["a"]


async def test_a_broker_that_does_not_answer_holds_up_no_stop() -> None:
    class Mute(Bench):
        async def quiesce(self) -> None:
            await asyncio.Event().wait()

    bench, handler = Mute(), Recorder(a=asyncio.Event())
    async with asyncio.timeout(20):
        async with consuming(bench, handler, concurrency=1, grace=0.05):
            bench.push(message("a"), message("b"))
            await until(lambda: handler.running and len(bench.held) == 2)
    assert sorted(bench.ids(Release)) == ["a", "b"]
    assert bench.left


async def test_nothing_is_left_running_after_stop() -> None:
    before = asyncio.all_tasks()
    bench, handler = Bench(), Recorder(default=lambda _: asyncio.sleep(0.001))
    async with consuming(bench, handler, ordered=True):
        bench.push(*(message(f"m{n}", key=f"k{n % 3}") for n in range(20)))
        await until(lambda: bench.ids(Ack))
    assert asyncio.all_tasks() == before


# ------------------------------------------------------------------ settling


async def test_a_settlement_that_the_broker_did_not_take_is_asked_for_again() -> None:
    failures = iter([Failed("busy")] * 3)
    bench, handler = Bench(), Recorder()
    bench.answer_settle = lambda _: next(failures, None)
    async with consuming(bench, handler):
        bench.push(message("a"))
        await until(lambda: bench.ids(Ack) == ["a"])
    assert handler.seen == [("a", 1)]


async def test_while_the_broker_takes_no_settlements_nothing_new_starts_and_the_trouble_is_told() -> None:
    down = True

    async def refuse(_: Any) -> None:
        if down:
            raise BrokerUnavailable("cut")

    bench, handler = Bench(), Recorder()
    bench.before_settle = refuse
    async with consuming(bench, handler, concurrency=1, window=1) as consumer:
        bench.push(message("a"), message("b"))
        await until(lambda: consumer.trouble)
        await never(lambda: "b" in handler.ids, during=0.1)
        down = False
        await until(lambda: bench.ids(Ack) == ["a", "b"])
        assert consumer.trouble is None


async def test_an_adapters_bug_in_settle_does_not_end_settling() -> None:
    bugs = iter([KeyError("bug")])

    async def bug(_: Any) -> None:
        for error in bugs:
            raise error

    bench = Bench()
    bench.before_settle = bug
    async with consuming(bench, Recorder(), grace=0.2):
        bench.push(message("a"))
        await until(lambda: not bench.ready)
        await until(lambda: bench.ids(Ack) == ["a"])


async def test_an_adapters_bug_in_receive_does_not_end_fetching_unnoticed() -> None:
    bench = Bench()
    async with consuming(bench, Recorder()) as consumer:
        await until(lambda: bench.asked)
        bench.fail_receive(KeyError("bug"))
        bench.push(message("a"))
        await until(lambda: bench.ids(Ack) == ["a"] or consumer.trouble)


async def test_an_adapters_bug_in_extend_does_not_end_the_renewing_of_leases_unnoticed() -> None:
    gate = asyncio.Event()
    bench, handler = Bench(lease=0.3), Recorder(a=gate)
    bench.extend_error = KeyError("bug")
    async with consuming(bench, handler) as consumer:
        bench.lease = 30.0  # it is renewed every 0.1 s all the same
        bench.push(message("a"))
        await until(lambda: "bug" in (consumer.trouble or ""))
        bench.extend_error = None
        await until(lambda: consumer.trouble is None)
        await until(lambda: bench.extensions > 5)
        gate.set()
        await until(lambda: bench.ids(Ack) == ["a"])
    assert handler.seen == [("a", 1)]


async def test_receiving_goes_on_after_the_broker_was_away() -> None:
    bench = Bench()
    async with consuming(bench, Recorder()) as consumer:
        await until(lambda: bench.asked)
        bench.fail_receive(BrokerUnavailable("away"))
        bench.push(message("a"))
        await until(lambda: bench.ids(Ack) == ["a"])
        assert consumer.trouble is None


async def test_an_observer_that_raises_does_not_stop_settling() -> None:
    def broken(_: Handled) -> None:
        raise RuntimeError("an observer's bug")

    bench = Bench()
    async with consuming(bench, Recorder(), observers=[broken], concurrency=1, window=1, grace=0.1):
        bench.push(message("a"), message("b"), message("c"))
        await until(lambda: bench.ids(Ack) == ["a", "b", "c"])


async def test_observers_hear_what_became_of_each_handling() -> None:
    handled: list[Handled] = []
    bench = Bench()
    async with consuming(bench, Recorder(a=Reject("no")), observers=[handled.append]):
        bench.push(message("a"), message("b"))
        await until(lambda: len(handled) == 2)
    assert {h.delivery.message.id: type(h.settlement) for h in handled} == {"a": DeadLetter, "b": Ack}


# ------------------------------------------------------------------ a broker that can only acknowledge and release


async def test_a_retry_is_published_confirmed_and_then_the_original_acknowledged() -> None:
    bench = Bench(native=LEAST)
    async with consuming(bench, Recorder(a=ValueError()), retry=Retry.fixed(5, delay=10)):
        bench.push(message("a"), attempt=2)
        await until(lambda: bench.ids(Ack) == ["a"])
    assert bench.journal == ["retry a", "Ack a"]
    (copy,) = bench.sinks["retry"].stored
    assert copy.id == "a"
    assert copy.attempts == 2
    assert copy.due is not None
    assert 8 < copy.due.timestamp() - datetime.now(UTC).timestamp() <= 10
    assert copy.first_failure is not None


async def test_a_dead_letter_is_published_confirmed_and_then_the_original_acknowledged() -> None:
    bench = Bench(native=LEAST)
    async with consuming(bench, Recorder(a=Reject("bad"))):
        bench.push(message("a", body=b"\x00\xff", key="k", headers={"h": "v"}))
        await until(lambda: bench.ids(Ack) == ["a"])
    assert bench.journal == ["dead a", "Ack a"]
    (letter,) = bench.sinks["dead"].stored
    assert letter.dead is not None
    assert (letter.id, letter.body, letter.key, dict(letter.headers)) == ("a", b"\x00\xff", "k", {"h": "v"})
    assert (letter.dead.reason, letter.dead.detail) == ("rejected", "bad")


@pytest.mark.parametrize(
    "answer", [Refused("full"), Unknown("cut"), BrokerUnavailable("away")], ids=lambda a: type(a).__name__
)
async def test_a_copy_that_cannot_be_placed_keeps_the_original_and_pauses(answer: Any) -> None:
    bench, handler = Bench(native=LEAST), Recorder(a=Reject("bad"))
    dead = bench.sinks["dead"]
    if isinstance(answer, BaseException):
        dead.error = answer
    else:
        dead.answer = lambda _: answer
    async with consuming(bench, handler, concurrency=1, window=1) as consumer:
        bench.push(message("a"), message("b"))
        await until(lambda: consumer.trouble)
        await never(lambda: bench.settled or "b" in handler.ids, during=0.1)
        dead.error, dead.answer = None, lambda _: None
        await until(lambda: bench.journal == ["dead a", "Ack a", "Ack b"])
    assert len(dead.stored) == 1


async def test_only_the_acknowledgement_is_repeated_once_the_copy_is_placed() -> None:
    failures = iter([Failed("busy")] * 2)
    bench = Bench(native=LEAST)
    bench.answer_settle = lambda _: next(failures, None)
    async with consuming(bench, Recorder(a=Reject("bad"))):
        bench.push(message("a"))
        await until(lambda: bench.ids(Ack) == ["a"])
    assert bench.journal == ["dead a", "Ack a"]


async def test_observers_hear_of_a_retry_and_a_dead_letter_also_where_they_are_copies() -> None:
    handled: list[Handled] = []
    bench = Bench(native=LEAST)
    async with consuming(bench, Recorder(a=Reject("no"), b=ValueError()), observers=[handled.append]):
        bench.push(message("a"), message("b"))
        await until(lambda: len(handled) == 2)
    assert {h.delivery.message.id: type(h.settlement) for h in handled} == {"a": DeadLetter, "b": Defer}


async def test_a_dead_letter_whose_original_is_lost_once_the_copy_is_placed_is_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handled: list[Handled] = []
    bench = Bench(native=LEAST)
    bench.answer_settle = lambda _: Lost()
    async with consuming(bench, Recorder(a=Reject("no")), observers=[handled.append]):
        bench.push(message("a"))
        await until(lambda: handled)
    assert bench.journal == ["dead a"]
    assert (type(handled[0].settlement), handled[0].result) == (DeadLetter, DONE)
    assert "message a is a dead letter" in caplog.text


async def test_observers_hear_of_what_is_lost_before_it_starts() -> None:
    handled, gate = list[Handled](), asyncio.Event()
    bench = Bench()
    async with consuming(bench, Recorder(a=gate), concurrency=1, observers=[handled.append]):
        bench.push(message("a"), message("b"))
        await until(lambda: len(bench.held) == 2)
        bench.revoke("b")
        assert [(one.delivery.message.id, type(one.settlement), type(one.result)) for one in handled] == [
            ("b", Release, Lost)
        ]
        gate.set()


# ------------------------------------------------------------------ lost acknowledgements


async def test_an_acknowledgement_that_was_lost_is_remembered_and_the_handler_not_called_again() -> None:
    first = True

    def lose(item: Settled) -> SettleResult | None:
        nonlocal first
        if not first:
            return None
        first = False
        bench.held.pop(item.delivery.token)
        bench.push(item.delivery.message, redelivered=True)
        return Lost()

    bench, handler = Bench(), Recorder()
    bench.answer_settle = lose
    async with consuming(bench, handler):
        bench.push(message("a"))
        await until(lambda: bench.ids(Ack) == ["a"])
    assert handler.seen == [("a", 1)]


async def test_what_comes_again_while_its_late_acknowledgement_is_on_its_way_is_not_handled_again() -> None:
    bench, handler, gate = Bench(), Recorder(), asyncio.Event()

    async def hang(_: Any) -> None:
        await gate.wait()

    bench.before_settle = hang
    async with consuming(bench, handler):
        bench.push(message("a"))
        await until(lambda: handler.seen == [("a", 1)])
        again = next(iter(bench.held.values())).message
        bench.held.clear()
        bench.push(again, redelivered=True)
        await until(lambda: not bench.ready)
        gate.set()
        await until(lambda: bench.ids(Ack) == ["a"])
    assert handler.seen == [("a", 1)]


async def test_where_acknowledgements_are_not_sure_a_redelivery_of_what_was_handled_is_acknowledged_unhandled() -> None:
    bench, handler = Bench(can=UNSURE), Recorder()
    async with consuming(bench, handler):
        bench.push(message("a"))
        await until(lambda: bench.ids(Ack) == ["a"])
        bench.push(message("a"), redelivered=True)
        await until(lambda: bench.ids(Ack) == ["a", "a"])
        bench.push(message("a", redrives=1), redelivered=True)
        await until(lambda: bench.ids(Ack) == ["a", "a", "a"])
    assert handler.ids == ["a", "a"], "a redriven copy is always handled"


async def test_of_two_messages_under_one_id_none_stays_leased_when_one_comes_again() -> None:
    gate = asyncio.Event()
    bench, handler = Bench(), Recorder(a=gate)
    async with consuming(bench, handler):
        bench.push(message("a"))
        await until(lambda: handler.running)
        bench.push(message("a"), redelivered=True)  # published twice; the other one was given back by another member
        await until(lambda: len(bench.held) == 2)
        gate.set()
        await until(lambda: bench.ids(Ack) == ["a", "a"])
    assert not bench.held


async def test_of_two_messages_under_one_id_none_stays_leased_when_one_comes_while_the_other_is_put_off() -> None:
    gate = asyncio.Event()
    bench, handler = Bench(), Recorder(a=ValueError("as told"))

    async def hang(_: Any) -> None:
        await gate.wait()

    bench.after_settle = hang
    async with consuming(bench, handler, retry=Retry.fixed(3, delay=60.0)):
        bench.push(message("a"))
        await until(lambda: bench.ids(Defer) == ["a"])
        bench.push(message("a"), redelivered=True)  # the broker has the answer for the first, and we do not know it yet
        await until(lambda: bench.held)
        bench.after_settle = None
        gate.set()
        await until(lambda: bench.ids(Defer) == ["a", "a"], seen=lambda: bench.settled)
        await until(lambda: not bench.held, seen=lambda: bench.held)
    assert handler.seen == [("a", 1), ("a", 1)]


async def test_a_lost_acknowledgement_after_a_retry_in_place_is_remembered_too() -> None:
    async def once(delivery: Delivery[Any]) -> None:
        if delivery.attempt == 1 and not handler.ended:
            raise ValueError

    bench, handler = Bench(can=UNSURE), Recorder(a=once)
    async with consuming(bench, handler, ordered=True):
        bench.push(message("a", key="k"))
        await until(lambda: bench.ids(Ack) == ["a"])
        bench.push(message("a", key="k"), redelivered=True)  # the broker knows of no attempt made in place
        await until(lambda: bench.ids(Ack) == ["a", "a"])
    assert handler.seen == [("a", 1), ("a", 2)]


async def test_the_same_id_published_twice_is_handled_twice() -> None:
    bench, handler = Bench(can=UNSURE), Recorder()
    async with consuming(bench, handler):
        bench.push(message("a"))
        await until(lambda: bench.ids(Ack) == ["a"])
        bench.push(message("a"))
        await until(lambda: bench.ids(Ack) == ["a", "a"])
    assert handler.ids == ["a", "a"]


# ------------------------------------------------------------------ options


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0}, {"concurrency": True}, {"concurrency": 1.5}, {"concurrency": 4, "window": 3},
        {"window_bytes": 0}, {"timeout": 0}, {"timeout": -1.0}, {"timeout": float("nan")},
    ],
)  # fmt: skip
def test_options_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        ConsumerOptions(**options)


async def test_what_an_adapter_breaks_on_is_told_without_what_the_message_holds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench, told = Bench(), list[str]()
    error = UnicodeDecodeError("utf-8", b"hunter2 \xff", 8, 9, "invalid start byte")  # whose `repr` has all of it

    async def fail_once(_: Sequence[Settled]) -> None:
        bench.before_settle = None
        raise error

    bench.before_settle = fail_once
    bench.push(message("a"))
    async with consuming(bench, Recorder()) as consumer:
        await until(lambda: bench.journal == ["Ack a"])
        bench.fail_receive(error)
        await until(lambda: "receive: UnicodeDecodeError" in caplog.text)
        told.append(str(consumer.trouble))
    assert "settle: UnicodeDecodeError" in caplog.text
    assert "hunter2" not in caplog.text + "".join(told)


async def test_what_cannot_be_recorded_is_given_back_and_not_held_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    class Telling(Bench, Describes):
        def __init__(self) -> None:
            super().__init__()
            self.broken = True

        def place_attributes(self, *_: Any) -> dict[str, str | int]:
            return {}

        def delivery_attributes(self, delivery: Delivery[Any]) -> dict[str, str | int]:
            del delivery
            if self.broken:
                self.broken = False
                raise LookupError("an adapter's bug")
            return {}

    async def refuse(_: Delivery[Any]) -> None:
        raise Reject("the pin is 4711-0815")

    bench = Telling()
    bench.push(message("m", headers={"pin": "4711-0815"}))
    async with consuming(bench, refuse) as consumer:
        await until(lambda: bench.ids(DeadLetter) == ["m"], seen=lambda: bench.journal)
        assert consumer.held == 0
    assert bench.ids(Release) == ["m"]
    assert "an adapter's bug" in caplog.text
    assert "4711" not in caplog.text
