"""A circuit breaker around a consumer: what it fetches, holds, tries and spends while the dependency is down."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.stand_ins import Bench, consuming, message, never, until
from waybill import (
    App,
    BrokerUnavailable,
    Bulkhead,
    CircuitBreaker,
    ConfigurationError,
    DecodeError,
    Delivery,
    ItemsFailed,
    Reject,
    Retry,
    RetryAfter,
    Settings,
    Status,
    Topic,
)
from waybill.adapter import Revoking
from waybill.classifying import Kinds
from waybill.options import Batch, ConsumerOptions
from waybill.outcomes import Ack, DeadLetter, Defer, Release

SLOW = Retry.fixed(5, delay=60)
"""What failed and counted does not come again during a test."""


@dataclass
class Step:
    key: str
    number: int


steps = Topic("steps", Step, key=lambda step: step.key)
other = Topic("other", Step, key=lambda step: step.key)


class Bank:
    """What handlers call: `down`, every call fails, but those of the messages in `works`; `poison` fails always."""

    def __init__(self, **rules: Any) -> None:
        rules = {"calls": 2, "open_for": 0.05, "cap": 0.1, **rules}
        self.breaker = CircuitBreaker("bank", **rules)
        self.down = True
        self.works = set[str]()
        self.poison = set[str]()
        self.error: Callable[[], BaseException] = ConnectionError
        self.tried: list[tuple[str, int]] = []
        self.at_once = self.most_at_once = 0

    async def __call__(self, delivery: Delivery[Any]) -> None:
        ident = delivery.message.id
        self.tried.append((ident, delivery.attempt))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0.001)
        finally:
            self.at_once -= 1
        if ident in self.poison or (self.down and ident not in self.works):
            raise self.error()

    @property
    def probes(self) -> int:
        """How many it has let through, or is about to."""
        return self.breaker.describe().transitions["half-open"]


def several(number: int, **more: Any) -> list[Any]:
    return [message(f"m{n}", **more) for n in range(number)]


async def test_while_it_is_open_nothing_is_fetched_and_only_probes_are_tried() -> None:
    bench, bank = Bench(), Bank(calls=4)
    bench.push(*several(100))
    async with consuming(bench, bank, gates=(bank.breaker,), concurrency=1, window=10, retry=SLOW):
        await until(lambda: bank.breaker.state == "open")
        fetched, tried = bench.most_held, len(bank.tried)
        await until(lambda: bank.probes >= 4)
        assert bench.most_held == fetched == 10
        assert len(bank.tried) <= tried + bank.probes
        assert len(bench.ready) == 90
        bank.down = False
        await until(lambda: len(bench.ids(Ack)) == 99, seen=lambda: bench.settled)
    assert len(bench.ids(Defer)) == 1  # the one that came before it opened
    assert {attempt for _, attempt in bank.tried} == {1}
    assert bank.breaker.state == "closed"


async def test_when_all_were_at_work_as_it_opened_none_of_those_that_failed_then_is_spent() -> None:
    bench, bank = Bench(), Bank()
    bench.push(*several(10))
    async with consuming(bench, bank, gates=(bank.breaker,), concurrency=10, retry=SLOW):
        await until(lambda: bank.breaker.state == "open" and not bank.at_once)
        bank.down = False
        await until(lambda: len(bench.ids(Ack)) == 10 - len(bench.ids(Defer)))
    assert bench.ids(Defer) == [] or len(bench.ids(Defer)) == 1


async def test_one_message_probes_and_the_next_probe_is_another_one() -> None:
    bench, bank = Bench(), Bank(calls=1)
    bench.push(*several(4))
    async with consuming(bench, bank, gates=(bank.breaker,), concurrency=4, window=4, retry=SLOW):
        await until(lambda: bank.probes >= 6)
        first = {ident for ident, _ in bank.tried[:4]}
        assert first == {"m0", "m1", "m2", "m3"}
        probed = [ident for ident, _ in bank.tried[4:]]
        assert all(one != following for one, following in pairwise(probed))
        bank.down, bank.most_at_once = False, 0


async def test_a_probe_is_fetched_if_none_is_held() -> None:
    bench, bank = Bench(), Bank(calls=1, open_for=0.2, cap=0.2)
    async with consuming(bench, bank, gates=(bank.breaker,), retry=SLOW) as consumer:
        bench.push(message("poison"))
        bank.poison = {"poison"}
        await until(lambda: bank.breaker.state == "open")
        bench.fail_receive(BrokerUnavailable("so that no call is under way that was made before it opened"))
        await until(lambda: consumer.trouble)
        asked, bank.down = len(bench.asked), False
        bench.push(*several(20))
        await until(lambda: bank.probes == 1)
        assert consumer.held <= 2
        await until(lambda: bank.breaker.state == "closed")
        await until(lambda: len(bench.ids(Ack)) == 20)
    assert bench.asked[asked] == 1


@pytest.mark.parametrize("calls", [2, 20])
async def test_a_poisonous_message_cannot_keep_it_open_and_is_given_up_like_any_other(calls: int) -> None:
    """With two calls, each of its failures opens it."""
    bench, bank = Bench(), Bank(calls=calls, open_for=0.01, cap=0.01)
    bank.poison, bank.down = {"p"}, False
    bench.push(message("p"))
    async with consuming(bench, bank, gates=(bank.breaker,), concurrency=1, retry=Retry.fixed(4, delay=0.01)):
        pushed, end = 0, time.monotonic() + 20
        while not bench.ids(DeadLetter) and time.monotonic() < end:
            bench.push(message(f"m{pushed}"))
            pushed += 1
            await asyncio.sleep(0.005)
        await until(lambda: len(bench.ids(Ack)) == pushed)
    assert bench.ids(DeadLetter) == ["p"]
    assert [attempt for ident, attempt in bank.tried if ident == "p"][-1] == 4
    assert bank.breaker.state == "closed"


async def test_a_failed_probe_costs_no_attempt_however_many_there_are() -> None:
    bench, bank = Bench(), Bank(calls=1)
    bench.push(message("m"))
    async with consuming(bench, bank, gates=(bank.breaker,), retry=Retry.none()):
        await until(lambda: len(bank.tried) >= 5)
        assert not bench.settled
        bank.down = False
        await until(lambda: bench.ids(Ack) == ["m"])
    assert {attempt for _, attempt in bank.tried} == {1}


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (ConnectionError, None),
        (TimeoutError, None),
        (ConnectionError, OSError),
        (ConnectionError, (ValueError, OSError)),
        (ConnectionError, lambda error: isinstance(error, OSError)),
        (ConnectionError, lambda error: error.no_such_thing),
        (lambda: ExceptionGroup("two", [ValueError(), ConnectionError()]), OSError),
        (lambda: ExceptionGroup("two", [ConnectionError(), TimeoutError()]), None),
        (lambda: ExceptionGroup("two", [ConnectionError(), NotImplementedError()]), None),
    ],
)
async def test_what_counts_opens_it(error: Any, counts: Any) -> None:
    bench, bank = Bench(), Bank(counts=counts)
    bank.error = error
    bench.push(*several(3))
    async with consuming(bench, bank, gates=(bank.breaker,), concurrency=1, retry=SLOW):
        await until(lambda: bank.breaker.state == "open")


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (lambda: Reject("no"), None),
        (lambda: Reject("no"), BaseException),
        (lambda: RetryAfter(60), lambda _: True),
        (lambda: DecodeError("no"), None),
        (lambda: ExceptionGroup("two", [RetryAfter(60), Reject("no")]), None),
        (lambda: ExceptionGroup("one", [RetryAfter(60)]), lambda _: True),
        (ConnectionError, ValueError),
        (ConnectionError, lambda _: False),
        (asyncio.CancelledError, None),
    ],
)
async def test_what_does_not_count_says_nothing(error: Any, counts: Any) -> None:
    bench, bank = Bench(), Bank(counts=counts)
    bank.error = error
    bench.push(*several(10))
    async with consuming(bench, bank, gates=(bank.breaker,), retry=SLOW):
        await until(lambda: len(bench.settled) == 10)
    assert bank.breaker.describe().transitions["open"] == 0
    assert bank.breaker.describe().failure_rate == 0.0


async def test_a_table_of_errors_says_what_is_the_messages_own() -> None:
    bench, bank = Bench(), Bank()
    bench.push(*several(10))
    kinds = Kinds({ConnectionError: "permanent"})
    async with consuming(bench, bank, gates=(bank.breaker,), retry=SLOW, kinds=kinds):
        await until(lambda: len(bench.settled) == 10)
    assert bank.breaker.state == "closed"


async def test_handlers_that_run_too_long_count() -> None:
    bench, bank = Bench(), Bank()

    async def hang(delivery: Delivery[Any]) -> None:
        bank.tried.append((delivery.message.id, delivery.attempt))
        if bank.down:
            await asyncio.Event().wait()

    bench.push(*several(3))
    async with consuming(bench, hang, gates=(bank.breaker,), timeout=0.03, retry=SLOW):
        await until(lambda: bank.breaker.state == "open")
        bank.down = False
        await until(lambda: len(bench.ids(Ack)) >= 2)


async def test_too_many_slow_ones_open_it_though_they_are_acknowledged() -> None:
    bench, bank = Bench(), Bank(slow=0.02, slow_share=0.5, calls=4, open_for=30, cap=60)

    async def slow(_: Delivery[Any]) -> None:
        await asyncio.sleep(0.03)

    bench.push(*several(10))
    async with consuming(bench, slow, gates=(bank.breaker,), concurrency=1):
        await until(lambda: bank.breaker.state == "open")
        await until(lambda: bench.ids(Ack) == ["m0", "m1"])
        assert "took longer than 0.02 s" in (bank.breaker.shut or "")


async def test_it_stays_open_for_as_long_as_an_error_asks() -> None:
    class Busy(ConnectionError):
        retry_after = 30

    bench, bank = Bench(), Bank()
    bank.error = Busy
    bench.push(*several(4))
    async with consuming(bench, bank, gates=(bank.breaker,), concurrency=1, retry=SLOW):
        await until(lambda: bank.breaker.state == "open")
        assert 25 < (bank.breaker.describe().next_probe or 0) <= 30


async def test_nobody_keeps_it_open_for_longer_than_an_hour() -> None:
    class Busy(ConnectionError):
        retry_after = 1e12

    bench, bank = Bench(), Bank(calls=1)
    bank.error = Busy
    bench.push(*several(1))
    async with consuming(bench, bank, gates=(bank.breaker,), retry=SLOW):
        await until(lambda: bank.breaker.state == "open")
        assert 3500 < (bank.breaker.describe().next_probe or 0) <= 3600


# ---------------------------------------------------------------- by hand


async def test_opened_by_hand_it_stays_so_and_running_handlers_finish() -> None:
    bench, bank, gate = Bench(), Bank(), asyncio.Event()

    async def wait(delivery: Delivery[Any]) -> None:
        bank.tried.append((delivery.message.id, delivery.attempt))
        await gate.wait()

    bench.push(*several(10))
    async with consuming(bench, wait, gates=(bank.breaker,), concurrency=2, window=4) as consumer:
        await until(lambda: len(bank.tried) == 2)
        bank.breaker.open("the bank asked for it")
        gate.set()
        await until(lambda: len(bench.ids(Ack)) == 2)
        await never(lambda: len(bank.tried) > 2 or consumer.held > 2)
        assert bank.breaker.describe().reason == "the circuit 'bank' is forced-open: the bank asked for it"
        bank.breaker.auto()
        await until(lambda: len(bench.ids(Ack)) == 10)
    assert bank.breaker.state == "closed"


async def test_closed_by_hand_it_lets_everything_fail_until_it_is_told_otherwise() -> None:
    bench, bank = Bench(), Bank(calls=1)
    bank.breaker.close()
    bench.push(*several(5))
    async with consuming(bench, bank, gates=(bank.breaker,), concurrency=1, retry=Retry.none()):
        await until(lambda: len(bench.ids(DeadLetter)) == 5)
        assert bank.breaker.state == "forced-closed"
        bank.breaker.auto()
        bench.push(message("one more"), message("another"))
        await until(lambda: bank.breaker.state == "open")
    assert len(bench.ids(DeadLetter)) == 5


async def test_opened_before_the_application_starts_it_is_open_when_it_does() -> None:
    bench, bank = Bench(), Bank()
    bank.breaker.open()
    bench.push(*several(3))
    async with consuming(bench, bank, gates=(bank.breaker,)):
        await never(lambda: bank.tried)
        assert not bench.asked
        bank.down = False
        bank.breaker.close()
        await until(lambda: len(bench.ids(Ack)) == 3)


# ---------------------------------------------------------------- together with everything else


async def test_subscriptions_share_it_and_one_probe_passes_for_all() -> None:
    first, second, bank = Bench(), Bench(), Bank(calls=1)
    first.push(*several(5))
    options: Any = {"gates": (bank.breaker,), "concurrency": 1, "retry": SLOW}
    async with consuming(first, bank, **options):
        await until(lambda: bank.breaker.state == "open")
        async with consuming(second, bank, **options):
            second.push(*[message(f"s{n}") for n in range(5)])
            bank.most_at_once = 0
            before = len(bank.tried)
            await until(lambda: bank.probes >= 6)
            assert bank.most_at_once == 1
            assert len(bank.tried) - before <= bank.probes
            assert {ident[0] for ident, _ in bank.tried[before:]} == {"m", "s"}, "each one's messages probe in turn"
            bank.down = False
            await until(lambda: len(second.ids(Ack)) == 5)
            await until(lambda: len(first.ids(Ack)) == 5)
    assert bank.breaker.describe().subscriptions == 0


async def test_an_idle_subscription_leaves_the_probe_to_one_that_holds_something() -> None:
    busy, idle, bank = Bench(), Bench(), Bank(calls=1)
    busy.push(*several(3))
    options: Any = {"gates": (bank.breaker,), "concurrency": 1, "retry": SLOW}
    async with consuming(idle, bank, **options), consuming(busy, bank, **options):
        await until(lambda: bank.probes >= 4)
        bank.down = False
        await until(lambda: len(busy.ids(Ack)) == 3)
    assert {ident for ident, _ in bank.tried} == {"m0", "m1", "m2"}


async def test_a_probe_that_says_nothing_leaves_the_next_to_whoever_has_a_message() -> None:
    first, second, bank = Bench(), Bench(), Bank(calls=1, open_for=0.1, cap=0.1)
    first.push(message("m"))
    options: Any = {"gates": (bank.breaker,), "concurrency": 1, "retry": SLOW}
    async with consuming(first, bank, **options):
        await until(lambda: bank.breaker.state == "open")
        bank.error = Reject
        async with consuming(second, bank, **options):
            second.push(message("s"))
            await until(lambda: first.ids(DeadLetter) == ["m"])
            await until(lambda: second.ids(DeadLetter) == ["s"])
            assert bank.breaker.state == "half-open"
            bank.down = False
            second.push(message("well"))
            await until(lambda: bank.breaker.state == "closed")


async def test_a_probe_that_is_cut_short_does_not_close_it() -> None:
    bench, bank, hung = Bench(), Bank(calls=1), asyncio.Event()

    async def handle(delivery: Delivery[Any]) -> None:
        if bank.breaker.state == "half-open" and not hung.is_set():
            hung.set()
            await asyncio.Event().wait()
        await bank(delivery)

    bench.push(*several(3))
    async with consuming(bench, handle, gates=(bank.breaker,), concurrency=1, retry=SLOW) as consumer:
        await asyncio.wait_for(hung.wait(), 20)
        before = bank.probes
        bench.revoke("m0", "m1", "m2")
        await until(lambda: not consumer.running)
        assert bank.breaker.state == "half-open"
        bench.push(message("next"))
        await until(lambda: bank.probes > before)  # it was the next probe, and failed


async def test_two_breakers_must_both_let_it_through() -> None:
    bench, bank, post = Bench(), Bank(), CircuitBreaker("post")
    bank.down = False
    post.open()
    bench.push(*several(3))
    async with consuming(bench, bank, gates=(bank.breaker, post)):
        await never(lambda: bank.tried)
        post.close()
        bank.breaker.open()
        await never(lambda: bank.tried)
        bank.breaker.close()
        await until(lambda: len(bench.ids(Ack)) == 3)


async def test_a_batch_that_fails_is_kept_and_probed_with_one_message() -> None:
    bench, bank, sizes = Bench(), Bank(calls=1), list[int]()

    async def store(deliveries: list[Delivery[Any]]) -> None:
        sizes.append(len(deliveries))
        if bank.down:
            raise ConnectionError

    bench.push(*several(20))
    options: Any = {"gates": (bank.breaker,), "batch": Batch(10, wait=0.01), "concurrency": 1, "retry": SLOW}
    async with consuming(bench, store, **options):
        await until(lambda: bank.probes >= 3)
        assert sizes[0] == 10
        assert set(sizes[1:]) == {1}
        assert not bench.settled
        bank.down = False
        await until(lambda: len(bench.ids(Ack)) == 20)
    assert max(sizes[3:]) > 1


async def test_a_batch_of_which_few_fail_is_no_failure() -> None:
    bench, bank = Bench(), Bank(calls=2)

    async def store(deliveries: list[Delivery[Any]]) -> None:
        if len(deliveries) > 1:
            raise ItemsFailed({0: ConnectionError()})

    bench.push(*several(40))
    options: Any = {"gates": (bank.breaker,), "batch": Batch(10, wait=0.01), "concurrency": 1, "retry": SLOW}
    async with consuming(bench, store, **options):
        await until(lambda: len(bench.ids(Ack)) == 36)
    assert bank.breaker.describe().transitions["open"] == 0


async def test_an_ordered_key_keeps_its_order_through_an_outage() -> None:
    bench, bank, done = Bench(), Bank(calls=2), list[str]()

    async def handle(delivery: Delivery[Any]) -> None:
        await bank(delivery)
        done.append(delivery.message.id)

    bench.push(*[message(f"{key}{n}", key=key) for n in range(6) for key in "abc"])
    retry = Retry.fixed(5, delay=0.01)
    async with consuming(bench, handle, ordered=True, gates=(bank.breaker,), window=12, retry=retry):
        await until(lambda: bank.probes >= 5)
        bank.down = False
        await until(lambda: len(done) == 18)
    for key in "abc":
        assert [ident for ident in done if ident[0] == key] == [f"{key}{n}" for n in range(6)]
    assert not bench.ids(DeadLetter)


async def test_what_is_held_is_kept_for_as_long_as_it_lasts() -> None:
    bench, bank = Bench(lease=0.1), Bank(open_for=0.5, cap=0.5)
    async with consuming(bench, bank, gates=(bank.breaker,), concurrency=1, window=10, retry=SLOW) as consumer:
        bench.lease = 30.0  # renewed as often as before, and none runs out on a slow machine
        bench.push(*several(10))
        await until(lambda: bank.breaker.state == "open")
        held, extended = consumer.held, bench.extensions
        await until(lambda: bank.probes >= 1 and bench.extensions >= extended + 5)
        assert consumer.held == held
        assert not bench.ids(Release)
        bank.down = False
        await until(lambda: len(bench.ids(Ack)) == held)


async def test_what_is_lost_while_it_is_open_is_given_up_and_never_handled() -> None:
    bench, bank = Bench(lease=0.1), Bank(calls=1)
    bank.breaker.open()
    bench.push(*several(3))
    bank.breaker.close()
    bank.down = False
    gate = asyncio.Event()

    async def handle(delivery: Delivery[Any]) -> None:
        await gate.wait()
        await bank(delivery)

    async with consuming(bench, handle, gates=(bank.breaker,), concurrency=1) as consumer:
        await until(lambda: consumer.running == 1 and consumer.held == 3)
        bank.breaker.open()
        gate.set()
        await until(lambda: consumer.held == 2)
        bench.expired = {"m2"}
        await until(lambda: consumer.held == 1)
        bank.breaker.close()
        await until(lambda: bench.ids(Ack) == ["m0", "m1"])
        await never(lambda: "m2" in [ident for ident, _ in bank.tried])


async def test_when_leases_cannot_be_renewed_while_it_is_open_they_are_given_up() -> None:
    bench, bank = Bench(lease=0.15), Bank(calls=1, open_for=60, cap=60)
    bench.push(*several(5))
    async with consuming(bench, bank, gates=(bank.breaker,), concurrency=1, retry=SLOW) as consumer:
        await until(lambda: bank.breaker.state == "open")
        bench.extend_error = BrokerUnavailable("restarting")
        await until(lambda: consumer.held == 0)
        bench.extend_error = None
        await until(lambda: len(bench.ids(Release)) == 5)
        bank.down = False
        bank.breaker.auto()
        bank.breaker.close()
        await until(lambda: len(bench.ids(Ack)) == 5)
    assert {attempt for _, attempt in bank.tried} == {1}


async def test_a_revoked_partition_takes_what_was_kept_with_it_uncounted() -> None:
    bench, bank = Bench(), Bank(calls=1, open_for=60, cap=60)
    bench.push(message("a1", key="a"), message("a2", key="a"), partition="0")
    bench.push(message("b1", key="b"), partition="1")
    async with consuming(bench, bank, ordered=True, gates=(bank.breaker,), concurrency=1, retry=SLOW) as consumer:
        await until(lambda: bank.breaker.state == "open" and consumer.held == 3)
        bench.notify(Revoking(frozenset({"0"})))
        await until(lambda: bench.ids(Release) == ["a1", "a2"])
        assert consumer.held == 1
    assert not bench.ids(Defer)


async def test_shut_down_while_it_is_open_all_that_is_held_is_released_uncounted() -> None:
    bench, bank = Bench(), Bank(calls=1, open_for=60, cap=60)
    bench.push(*several(8))
    async with consuming(bench, bank, gates=(bank.breaker,), concurrency=2, window=8, retry=SLOW, grace=5) as consumer:
        await until(lambda: bank.breaker.state == "open" and not consumer.running)
        began = time.monotonic()
    assert time.monotonic() - began < 4  # it waited for nothing
    assert sorted(bench.ids(Release)) == [f"m{n}" for n in range(8)]
    assert not bench.ids(Defer)
    assert all(settlement.attempts is None for _, settlement in bench.settled if isinstance(settlement, Release))


async def test_what_began_before_the_outage_and_ends_after_it_costs_nothing() -> None:
    bench, bank, gate = Bench(), Bank(calls=1), asyncio.Event()

    async def handle(delivery: Delivery[Any]) -> None:
        if delivery.message.id == "slow" and not gate.is_set():
            await gate.wait()
            raise ConnectionError
        await bank(delivery)

    def fail_once() -> BaseException:
        bank.down = False
        return ConnectionError()

    bank.error = fail_once
    bench.push(message("slow"), *several(2))
    async with consuming(bench, handle, gates=(bank.breaker,), retry=Retry.none()):
        await until(lambda: bank.breaker.describe().transitions["closed"] == 1)
        gate.set()
        await until(lambda: sorted(bench.ids(Ack)) == ["m0", "m1", "slow"])
    assert bank.breaker.describe().transitions["open"] == 1


async def test_a_handler_cancelled_for_the_shutdown_says_nothing_about_the_dependency() -> None:
    bench, bank = Bench(), Bank(calls=1)

    async def hang(_: Delivery[Any]) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionError from None

    bench.push(*several(3))
    async with consuming(bench, hang, gates=(bank.breaker,), grace=0.01) as consumer:
        await until(lambda: consumer.running == 3)
    assert bank.breaker.state == "closed"


async def test_a_broker_that_restarts_while_it_is_open_changes_nothing() -> None:
    bench, bank = Bench(), Bank(calls=1, open_for=60, cap=60)
    bench.push(*several(5))
    async with consuming(bench, bank, gates=(bank.breaker,), concurrency=1, window=5, retry=SLOW) as consumer:
        await until(lambda: bank.breaker.state == "open")
        bench.revoke(*[f"m{n}" for n in range(5)])  # the connection is gone, and what it had is handed out anew
        assert consumer.held == 0
        bench.fail_receive(BrokerUnavailable("restarting"))
        bench.push(*several(5), redelivered=True)
        await never(lambda: consumer.held)
        bank.down = False
        bank.breaker.open()
        bank.breaker.auto()
        await until(lambda: sorted(set(bench.ids(Ack))) == [f"m{n}" for n in range(5)])


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    outages=st.lists(st.tuples(st.integers(1, 12), st.sampled_from([0.005, 0.02, 0.06])), min_size=1, max_size=3),
    ordered=st.booleans(),
    concurrency=st.integers(1, 5),
    revoked=st.booleans(),
    lasting=st.booleans(),
)
def test_whenever_it_is_down_each_message_is_handled_once_in_order_and_spends_next_to_nothing(
    outages: list[tuple[int, float]], *, ordered: bool, concurrency: int, revoked: bool, lasting: bool
) -> None:
    """`outages`: after how many handlings the dependency goes away, and for how many seconds."""
    asyncio.run(_outages(outages, ordered=ordered, concurrency=concurrency, revoked=revoked, lasting=lasting))


async def _outages(
    outages: list[tuple[int, float]], *, ordered: bool, concurrency: int, revoked: bool, lasting: bool
) -> None:
    bench, bank, done = Bench(), Bank(calls=2, open_for=0.01, cap=0.02), list[str]()
    bank.down = False

    async def handle(delivery: Delivery[Any]) -> None:
        await bank(delivery)
        done.append(delivery.message.id)

    names = [f"{key}{n:02}" for n in range(20) for key in "abc"]
    bench.push(*[message(name, key=name[0]) for name in names], partition="p")
    retry = Retry.fixed(1 + len(outages), delay=0.005)
    async with consuming(
        bench, handle, ordered=ordered, gates=(bank.breaker,), concurrency=concurrency, window=20, retry=retry
    ) as consumer:
        for after, seconds in outages:
            goal = min(len(done) + after, len(names))
            await until(lambda goal=goal: len(done) >= goal)
            bank.down = True
            await asyncio.sleep(seconds)
            if revoked:
                bench.notify(Revoking(frozenset({"p"})))
            if lasting:
                bank.breaker.open()
                bank.breaker.auto()
            bank.down = False
        await until(lambda: len(bench.ids(Ack)) == len(names), seen=lambda: (consumer.held, bank.breaker.describe()))
    assert not bench.ids(DeadLetter)
    assert sorted(done) == sorted(names)
    if ordered:
        for key in "abc":
            assert [name for name in done if name[0] == key] == [name for name in names if name[0] == key]
    assert len(bench.ids(Defer)) <= (len(outages) - 1) * concurrency


# ---------------------------------------------------------------- how it is seen


async def test_an_application_tells_of_its_breakers() -> None:
    app, bank = App("shop"), CircuitBreaker("bank")

    @app.consume(steps, breaker=bank)
    async def one(_: Step) -> None: ...

    @app.consume(other, breaker=[bank, CircuitBreaker("post")])
    async def two(_: Step) -> None: ...

    assert list(app.breakers) == ["bank", "post"]
    assert app.breakers["bank"] is bank
    async with app.test():
        assert app.health().status is Status.UP
        bank.open("for a test")
        parts = {part.name: part for part in app.health().parts}
        assert app.health().status is Status.DEGRADED
        assert parts["steps/shop"].reasons == parts["other/shop"].reasons
        assert parts["steps/shop"].reasons == ["the circuit 'bank' is forced-open: for a test"]
        assert bank.describe().subscriptions == 2
        bank.close()
        assert app.health().status is Status.UP


def test_two_breakers_of_one_name_are_refused() -> None:
    app = App("shop")

    async def handle(_: Step) -> None: ...

    app.consume(steps, breaker=CircuitBreaker("bank"))(handle)
    with pytest.raises(ConfigurationError, match="another circuit breaker called 'bank'"):
        app.consume(other, breaker=CircuitBreaker("bank"))(handle)
    with pytest.raises(ConfigurationError, match="name the dependency"):
        CircuitBreaker("")
    with pytest.raises(ConfigurationError, match="CircuitBreaker"):
        app.consume(other, breaker="bank")  # type: ignore[arg-type]


def test_one_that_counts_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="counts"):
        CircuitBreaker("bank", counts=[])


async def test_one_object_serves_one_event_loop_and_the_next_when_that_was_thrown_away() -> None:
    bank, refused = CircuitBreaker("bank"), list[str]()

    async def elsewhere() -> None:
        try:
            bank.join(lambda: None)
        except ConfigurationError as error:
            refused.append(str(error))

    await asyncio.to_thread(asyncio.run, elsewhere())  # one that never leaves
    bank.join(print)
    assert bank.describe().subscriptions == 1
    await asyncio.to_thread(asyncio.run, elsewhere())
    assert "another event loop" in refused[0]
    bank.leave(print)
    assert bank.describe().subscriptions == 0


async def test_a_consumer_that_one_keeps_from_starting_leaves_nothing_open_and_the_others() -> None:
    bank, post, bench = CircuitBreaker("bank"), CircuitBreaker("post"), Bench()
    joined, over = threading.Event(), threading.Event()

    async def elsewhere() -> None:
        post.join(print)
        joined.set()
        await asyncio.to_thread(over.wait, 20)

    other_loop = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
    await asyncio.to_thread(joined.wait, 20)
    with pytest.raises(ConfigurationError, match="another event loop"):
        async with consuming(bench, Bank(), gates=(bank, post)):
            pass
    over.set()
    await other_loop
    assert bench.left
    assert (bank.describe().subscriptions, post.describe().subscriptions) == (0, 1)


async def test_a_probe_that_ran_on_a_loop_that_was_thrown_away_keeps_nobody_waiting() -> None:
    bank, bench = Bank(), Bench()

    async def elsewhere() -> None:
        bank.breaker.join(print)
        bank.breaker.open()
        bank.breaker.auto()
        assert bank.breaker.free(time.monotonic())
        bank.breaker.start(time.monotonic())

    await asyncio.to_thread(asyncio.run, elsewhere())
    assert bank.breaker.state == "half-open"
    bank.down = False
    bench.push(*several(3))
    async with consuming(bench, bank, gates=(bank.breaker,)):
        await until(lambda: len(bench.ids(Ack)) == 3, within=5)


async def test_what_it_says_holds_nothing_that_an_exception_said(caplog: pytest.LogCaptureFixture) -> None:
    bench, bank = Bench(), Bank(calls=1, open_for=60, cap=60)
    bank.error = lambda: ConnectionError("password=hunter2")
    bench.push(*several(2))
    with caplog.at_level(logging.INFO, "waybill.breaker"):
        async with consuming(bench, bank, gates=(bank.breaker,), retry=SLOW):
            await until(lambda: bank.breaker.state == "open")
            report = bank.breaker.describe()
    assert report.reason is not None
    assert "1 of 1 handlings failed (ConnectionError); it is probed in" in report.reason
    told = [record.getMessage() for record in caplog.records if record.name == "waybill.breaker"]
    assert any("'bank' is open" in line for line in told)
    assert "hunter2" not in f"{report} {told}"


async def test_what_it_reports_is_what_happened() -> None:
    bench, bank = Bench(), Bank(calls=4)
    assert bank.breaker.describe().since is None
    bench.push(*several(4))
    async with consuming(bench, bank, gates=(bank.breaker,), concurrency=1, retry=SLOW):
        await until(lambda: bank.probes >= 2)
        bank.down = False
        await until(lambda: bank.breaker.state == "closed")
        report = bank.breaker.describe()
    assert report.opened is None
    assert report.transitions["open"] == report.transitions["half-open"] >= 2
    assert report.transitions["closed"] == 1
    assert report.since is not None


async def test_messages_that_waited_for_it_are_no_sign_of_a_stalled_connection() -> None:
    """Half-open it asks for one message, and has got none since it opened."""
    bank = CircuitBreaker("bank", calls=1, open_for=0.05, cap=0.1)
    app, seen = App("shop", settings=Settings(url="memory://", stall_after=0.2)), list[int]()

    @app.consume(steps, breaker=bank)
    async def handle(step: Step) -> None:
        seen.append(step.number)

    async with app.running():
        bank.open()
        await app.publish_many(steps, [Step("k", n) for n in range(50)])
        await asyncio.sleep(0.5)  # more than twice the patience
        bank.auto()
        assert not app.consumer(steps).waits_for_messages(0.2)  # it may fetch again since just now
        await until(lambda: len(seen) == 50)
        assert app.consumer(steps).stalled is None


async def test_what_it_has_learned_ends_with_the_last_that_uses_it_and_what_was_done_by_hand_does_not() -> None:
    bench, bank = Bench(), Bank(calls=1, open_for=60, cap=60)
    bench.push(message("m"))
    async with consuming(bench, bank, gates=(bank.breaker,), retry=SLOW):
        await until(lambda: bank.breaker.state == "open")
    assert bank.breaker.state == "closed"
    bank.breaker.open("maintenance")
    async with consuming(Bench(), bank, gates=(bank.breaker,)):
        pass
    assert bank.breaker.state == "forced-open"
    bank.breaker.auto()
    again, bank.down = Bench(), False
    again.push(*several(3))
    async with consuming(again, bank, gates=(bank.breaker,)):
        await until(lambda: len(again.ids(Ack)) == 3)


def test_the_gates_of_a_subscription_are_its_breakers() -> None:
    bank = CircuitBreaker("bank")
    assert ConsumerOptions(gates=(bank,)).gates == (bank,)
    assert repr(bank) == "CircuitBreaker('bank': closed)"


async def test_what_is_forgiven_is_logged_without_secrets_and_with_what_it_is_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "waybill.handling")
    bench, bank = Bench(), Bank(calls=1)
    bank.error = lambda: ConnectionError("cannot log in with hunter2-S4")
    bench.push(message("m", body=b'{"password": "hunter2-S4"}'))
    async with consuming(bench, bank, gates=(bank.breaker,), retry=SLOW):
        await until(lambda: "waits here, at no cost" in caplog.text)
        bank.down = False
        await until(lambda: bench.ids(Ack))
    record: Any = next(record for record in caplog.records if "waits here" in record.getMessage())
    assert record.message_id == "m"
    assert "hunter2" not in caplog.text


def stuck(bank: Bank, gate: threading.Event) -> Any:
    """A handler whose calls hang in a thread while it is down."""

    def hang(number: int) -> None:
        bank.tried.append((str(number), 1))
        if bank.down:
            gate.wait(20)

    return hang


async def test_calls_that_hang_in_threads_open_it_though_they_do_not_end() -> None:
    bank, gate = Bank(calls=2, open_for=60, cap=60), threading.Event()
    app, topic = App("worker", settings=Settings(url="memory://")), Topic("numbers", int)
    app.consume(topic, concurrency=4, timeout=0.05, breaker=bank.breaker)(stuck(bank, gate))
    async with app.running():
        try:
            await app.publish_many(topic, [1, 2])
            await until(lambda: bank.breaker.state == "open")
            assert "HandlerTimeout" in (bank.breaker.shut or "")
        finally:
            gate.set()
        await until(lambda: app.consumer(topic).running == 0)
        assert bank.breaker.describe().transitions["open"] == 1, "what ends long after counts once"


@pytest.mark.parametrize("counts", [None, ConnectionError])
async def test_a_probe_that_hangs_in_a_thread_does_not_keep_the_others_waiting(counts: Any) -> None:
    bank, gate = Bank(calls=1, counts=counts), threading.Event()
    app = App("worker", settings=Settings(url="memory://"))
    first, second, done = Topic("first", int), Topic("second", int), list[int]()
    app.consume(first, timeout=0.05, breaker=bank.breaker)(stuck(bank, gate))

    @app.consume(second, breaker=bank.breaker)
    async def work(number: int) -> None:
        done.append(number)

    async with app.running():
        bank.breaker.open()
        await app.publish(first, 1)
        bank.breaker.auto()
        try:
            await until(lambda: bank.tried)
            await app.publish(second, 2)
            await until(lambda: done == [2])
            assert bank.breaker.state == "closed"
        finally:
            gate.set()


async def test_what_ignores_its_end_keeps_its_place_in_a_bulkhead() -> None:
    bank, gate, database = Bank(), threading.Event(), Bulkhead("database", 1)
    app, topic = App("worker", settings=Settings(url="memory://")), Topic("numbers", int)
    app.consume(topic, concurrency=4, timeout=0.05, bulkhead=database)(stuck(bank, gate))
    async with app.running():
        try:
            await app.publish_many(topic, [1, 2])
            await until(lambda: bank.tried)
            await never(lambda: len(bank.tried) > 1, during=0.2)
        finally:
            bank.down = False
            gate.set()
        await until(lambda: len(bank.tried) >= 2)
    assert database.running == 0


async def test_a_table_is_asked_once_for_each_failure() -> None:
    bench, bank, asked = Bench(), Bank(), list[BaseException]()

    def look(error: BaseException) -> Any:
        asked.append(error)
        return "permanent"

    bench.push(*several(3))
    async with consuming(bench, bank, gates=(bank.breaker,), kinds=Kinds({Exception: look})):
        await until(lambda: len(bench.ids(DeadLetter)) == 3)
    assert len(asked) == 3
