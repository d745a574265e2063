"""`bus.faults`: what a service sees when the broker misbehaves within what brokers may do."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.stand_ins import never, until
from waybill import App, ConfigurationError, Delivery, PublishRefused, PublishUnknown, Reject, Retry, Topic
from waybill.testing import BusError, Fault, TestBus


@dataclass
class Order:
    order_id: str
    customer: str = "c"


@dataclass
class Invoice:
    order_id: str


ORDERS = Topic("orders", Order, key=lambda order: order.customer)
INVOICES = Topic("invoices", Invoice)

LEASE = 30.0


class Service:
    """An application that invoices each order, and what it was given."""

    def __init__(self, **options: Any) -> None:
        self.app = App("billing")
        self.seen: list[Order] = []
        self.deliveries: list[Delivery[Order]] = []
        self.cancelled = 0
        options.setdefault("retry", Retry.fixed(3, delay=3600))
        self.app.consume(ORDERS, **options)(self.bill)

    async def bill(self, order: Order, delivery: Delivery[Order]) -> None:
        self.seen.append(order)
        self.deliveries.append(delivery)
        try:
            await self.app.publish(INVOICES, Invoice(order.order_id))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    @property
    def ids(self) -> list[str]:
        return [order.order_id for order in self.seen]


async def publish(bus: TestBus, *orders: str) -> None:
    """Each is an id, or `id/customer`."""
    for order in orders:
        ident, _, customer = order.partition("/")
        await bus.publish(ORDERS, Order(ident, customer or "c"))


def passed(bus: TestBus, start: float) -> float:
    return round(bus.clock.time() - start, 3)


# -------------------------------------------------------------------- drop


async def test_what_was_dropped_comes_when_its_lease_has_run_out() -> None:
    service = Service()
    async with service.app.test() as bus:
        fault = bus.faults.drop(ORDERS)
        await publish(bus, "1")
        await bus.advance(LEASE - 1)
        assert (service.ids, fault.fired) == ([], 1)
        await bus.advance(1)
        assert service.ids == ["1"]
        assert (service.deliveries[0].redelivered, service.deliveries[0].attempt) == (True, 1)


async def test_drain_moves_the_clock_to_what_was_dropped() -> None:
    service = Service()
    async with service.app.test() as bus:
        start = bus.clock.time()
        bus.faults.drop(ORDERS)
        await publish(bus, "1", "2")
        await bus.drain()
        assert service.ids == ["2", "1"]
        assert passed(bus, start) == LEASE


async def test_one_message_can_be_dropped_several_times() -> None:
    service = Service()
    async with service.app.test() as bus:
        start = bus.clock.time()
        bus.faults.drop(ORDERS, times=3)
        await publish(bus, "1")
        await bus.drain()
        assert service.ids == ["1"]
        assert passed(bus, start) == 3 * LEASE


async def test_an_ordered_key_waits_for_what_was_dropped_and_others_do_not() -> None:
    service = Service(ordered=True)
    async with service.app.test() as bus:
        bus.faults.drop(ORDERS, only=lambda order: order.order_id == "2")
        await publish(bus, "1", "2", "3", "4/other")
        await bus.advance(1)
        assert service.ids == ["1", "4"]
        await publish(bus, "5")
        await bus.drain()
        assert service.ids == ["1", "4", "2", "3", "5"]


async def test_what_is_dropped_behind_a_failure_keeps_its_place() -> None:
    app, seen = App("a"), list[str]()

    @app.consume(ORDERS, ordered=True, retry=Retry.fixed(3, delay=7))
    async def handle(order: Order) -> None:
        seen.append(order.order_id)
        if seen == ["1"]:
            raise ValueError

    async with app.test() as bus:
        bus.faults.drop(ORDERS, only=lambda order: order.order_id == "2")
        await app.publish_many(ORDERS, [Order("1"), Order("2"), Order("3")])
        await bus.drain()
        assert seen == ["1", "1", "2", "3"]


# -------------------------------------------------------------------- duplicate


async def test_a_duplicate_is_handled_twice_under_one_id() -> None:
    service = Service()
    async with service.app.test() as bus:
        fault = bus.faults.duplicate(ORDERS)
        await publish(bus, "1", "2")
        await bus.drain()
        assert sorted(service.ids) == ["1", "1", "2"]
        assert fault.fired == 1
        assert len({delivery.message.id for delivery in service.deliveries}) == 2
        assert [order.order_id for order in bus.published(ORDERS)] == ["1", "2"]
        one, *again = [message.id for message in bus.messages(INVOICES) if message.body == b'{"order_id":"1"}']
        assert again == [one]


async def test_a_copy_is_not_copied_again() -> None:
    service = Service()
    async with service.app.test() as bus:
        bus.faults.duplicate(ORDERS, times=2)
        await publish(bus, "1")
        await bus.drain()
        assert service.ids == ["1", "1"]
        await publish(bus, "2")
        await bus.drain()
        assert service.ids == ["1", "1", "2", "2"]


async def test_each_copy_has_its_own_attempts() -> None:
    app = App("a")

    @app.consume(ORDERS, retry=Retry.fixed(2, delay=60))
    async def fail(_: Order) -> None:
        raise ValueError("no")

    async with app.test() as bus:
        bus.faults.duplicate(ORDERS)
        await publish(bus, "1")
        await bus.drain()
        assert bus.retries(ORDERS) == [60.0, 60.0]
        assert len(bus.dead_letters(ORDERS)) == 2


async def test_only_the_named_group_sees_the_duplicate() -> None:
    app, seen = App("a"), list[str]()

    @app.consume(ORDERS, group="one")
    async def one(_: Order) -> None:
        seen.append("one")

    @app.consume(ORDERS, group="two")
    async def two(_: Order) -> None:
        seen.append("two")

    async with app.test() as bus:
        bus.faults.duplicate(ORDERS, group="two")
        await publish(bus, "1")
        await bus.drain()
        assert sorted(seen) == ["one", "two", "two"]


# -------------------------------------------------------------------- delay, reorder


async def test_what_is_delayed_is_passed_by_later_ones() -> None:
    service = Service()
    async with service.app.test() as bus:
        start = bus.clock.time()
        bus.faults.delay(ORDERS, timedelta(minutes=2))
        await publish(bus, "1", "2")
        await bus.advance(119)
        assert service.ids == ["2"]
        await bus.drain()
        assert service.ids == ["2", "1"]
        assert passed(bus, start) == 120.0


async def test_what_came_late_is_not_delayed_again_by_the_same_fault() -> None:
    service = Service()
    async with service.app.test() as bus:
        start = bus.clock.time()
        bus.faults.delay(ORDERS, 10, times=2)
        await publish(bus, "1")
        await bus.drain()
        assert passed(bus, start) == 10.0
        await publish(bus, "2")
        await bus.drain()
        assert passed(bus, start) == 20.0


async def test_an_ordered_key_keeps_its_order_behind_what_is_delayed() -> None:
    service = Service(ordered=True)
    async with service.app.test() as bus:
        bus.faults.delay(ORDERS, 60)
        await publish(bus, "1", "2", "3/other")
        await bus.advance(1)
        await publish(bus, "4")
        await bus.drain()
        assert service.ids == ["3", "1", "2", "4"]


async def test_reordered_ones_change_places() -> None:
    service = Service(concurrency=1)
    async with service.app.test() as bus:
        start = bus.clock.time()
        fault = bus.faults.reorder(ORDERS, times=2)
        await publish(bus, "1", "2", "3", "4")
        await bus.drain()
        assert service.ids == ["2", "1", "4", "3"]
        assert fault.fired == 2
        assert passed(bus, start) == 0.0


async def test_the_one_behind_is_handled_first_however_many_handlers_run() -> None:
    app, ended = App("a"), list[str]()

    @app.consume(ORDERS, concurrency=10)
    async def handle(order: Order) -> None:
        await asyncio.sleep(0.02 if order.order_id == "2" else 0)
        ended.append(order.order_id)

    async with app.test() as bus:
        bus.faults.reorder(ORDERS)
        await publish(bus, "1", "2")
        await bus.drain()
        assert ended == ["2", "1"]


async def test_what_came_late_looks_like_any_other_delivery() -> None:
    service = Service()
    async with service.app.test() as bus:
        bus.faults.delay(ORDERS, 10)
        bus.faults.reorder(ORDERS, only=lambda order: order.order_id == "2")
        await publish(bus, "1", "2", "3", "4")
        await bus.drain()
        assert service.ids == ["3", "2", "4", "1"]
        for delivery in service.deliveries:
            assert (delivery.attempt, delivery.redelivered, delivery.handed_out) == (1, False, 1)
            assert delivery.message.first_failure is None


async def test_a_late_retry_keeps_its_count_and_the_time_of_its_first_failure() -> None:
    app, deliveries = App("a"), list[Delivery[Order]]()

    @app.consume(ORDERS, retry=Retry.fixed(3, delay=60))
    async def handle(_: Order, delivery: Delivery[Order]) -> None:
        deliveries.append(delivery)
        if delivery.attempt == 1:
            bus.faults.drop(ORDERS)
            raise ValueError

    async with app.test() as bus:
        start = bus.clock.time()
        await publish(bus, "1")
        await bus.drain()
        assert passed(bus, start) == 60 + LEASE
        assert [delivery.attempt for delivery in deliveries] == [1, 2]
        first_failure = deliveries[1].message.first_failure
        assert first_failure is not None
        assert first_failure.timestamp() == pytest.approx(start, abs=0.01)


async def test_what_nothing_passes_comes_all_the_same_and_the_test_hears_of_it() -> None:
    service = Service()

    async def test() -> None:
        async with service.app.test() as bus:
            bus.faults.reorder(ORDERS)
            await publish(bus, "1")
            await bus.drain()

    with pytest.raises(BusError, match=r"reorder\(orders/billing\) happened 0 of 1 times"):
        await test()
    assert service.ids == ["1"]


# -------------------------------------------------------------------- lose_lease


async def test_a_handler_that_loses_its_lease_is_cancelled_and_the_message_handled_again() -> None:
    service = Service()
    async with service.app.test() as bus:
        fault = bus.faults.lose_lease(ORDERS)
        await publish(bus, "1")
        await bus.drain()
        assert (service.ids, service.cancelled, fault.fired) == (["1", "1"], 1, 1)
        assert [delivery.attempt for delivery in service.deliveries] == [1, 1]
        assert bus.published(INVOICES) == [Invoice("1")]


async def test_what_was_handled_before_its_lease_was_lost_is_not_handled_again() -> None:
    app, seen = App("a"), list[str]()

    @app.consume(ORDERS)
    async def handle(order: Order) -> None:
        seen.append(order.order_id)

    async with app.test() as bus:
        bus.faults.lose_lease(ORDERS)
        await publish(bus, "1")
        await bus.drain()
        assert seen == ["1"]
        assert "not handled again" in bus.explain()


async def test_an_ordered_key_starts_again_from_what_lost_its_lease() -> None:
    service = Service(ordered=True)
    async with service.app.test() as bus:
        bus.faults.lose_lease(ORDERS, only=lambda order: order.order_id == "2")
        await publish(bus, "1", "2", "3", "4")
        await bus.drain()
        assert service.ids == ["1", "2", "2", "3", "4"]
        assert bus.published(INVOICES) == [Invoice("1"), Invoice("2"), Invoice("3"), Invoice("4")]


async def test_a_plain_function_runs_to_its_end_and_is_not_run_again() -> None:
    app, seen = App("a"), list[str]()

    @app.consume(ORDERS)
    def handle(order: Order) -> None:
        time.sleep(0.02)
        seen.append(order.order_id)

    async with app.test() as bus:
        bus.faults.lose_lease(ORDERS)
        await publish(bus, "1")
        await bus.drain()
        assert seen == ["1"]


# -------------------------------------------------------------------- crash_at_settle


async def test_what_was_handled_and_not_settled_is_handled_again() -> None:
    service = Service()
    async with service.app.test() as bus:
        fault = bus.faults.crash_at_settle(ORDERS)
        await publish(bus, "1")
        await bus.drain()
        assert (service.ids, fault.fired) == (["1", "1"], 1)
        assert [delivery.attempt for delivery in service.deliveries] == [1, 1]
        first, second = bus.messages(INVOICES)
        assert first.id == second.id


async def test_a_crash_takes_back_what_was_behind_it_under_its_key() -> None:
    """Again until the second was under way when the process died: whether it is, is the scheduler's choice."""
    for _ in range(50):
        app, seen, cancelled = App("a"), list[str](), list[str]()

        @app.consume(ORDERS, ordered=True)
        async def handle(order: Order, seen: list[str] = seen, cancelled: list[str] = cancelled) -> None:
            seen.append(order.order_id)
            if seen == ["1", "2"]:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    cancelled.append(order.order_id)
                    raise

        async with app.test() as bus:
            bus.faults.crash_at_settle(ORDERS)
            await publish(bus, "1", "2", "3")
            await bus.drain()
        if seen != ["1", "1", "2", "3"]:
            assert (seen, cancelled) == (["1", "2", "1", "2", "3"], ["2"])
            return
    pytest.fail("the first was always settled before the second began")


async def test_what_failed_is_no_acknowledgement_to_be_lost() -> None:
    app, attempts = App("a"), list[int]()

    @app.consume(ORDERS, retry=Retry.fixed(3, delay=60))
    async def handle(_: Order, delivery: Delivery[Order]) -> None:
        attempts.append(delivery.attempt)
        if len(attempts) == 1:
            raise ValueError

    async with app.test() as bus:
        bus.faults.crash_at_settle(ORDERS)
        await publish(bus, "1")
        await bus.drain()
        assert attempts == [1, 2, 2]


# -------------------------------------------------------------------- refuse, unknown


async def test_a_refused_publish_is_not_stored() -> None:
    service = Service()
    async with service.app.test() as bus:
        bus.faults.refuse(ORDERS, only=lambda order: order.order_id == "2")
        await publish(bus, "1")
        with pytest.raises(PublishRefused):
            await publish(bus, "2")
        await publish(bus, "3")
        await bus.drain()
        assert [order.order_id for order in bus.published(ORDERS)] == service.ids == ["1", "3"]


async def test_a_handler_whose_publish_is_refused_is_tried_again() -> None:
    service = Service()
    async with service.app.test() as bus:
        bus.faults.refuse(INVOICES, times=2)
        await publish(bus, "1")
        await bus.drain()
        assert service.ids == ["1", "1", "1"]
        assert bus.retries(ORDERS) == [3600.0, 3600.0]
        assert bus.published(INVOICES) == [Invoice("1")]


async def test_an_unknown_publish_that_was_stored_is_there_twice_after_a_second_attempt() -> None:
    service = Service()
    async with service.app.test() as bus:
        bus.faults.unknown(INVOICES)
        await publish(bus, "1")
        await bus.drain()
        assert bus.published(INVOICES) == [Invoice("1"), Invoice("1")]
        assert len({message.id for message in bus.messages(INVOICES)}) == 1


async def test_an_unknown_publish_that_was_not_stored_is_there_once() -> None:
    service = Service()
    async with service.app.test() as bus:
        bus.faults.unknown(INVOICES, stored=False)
        await publish(bus, "1")
        await bus.drain()
        assert service.ids == ["1", "1"]
        assert bus.published(INVOICES) == [Invoice("1")]


@pytest.mark.parametrize("stored", [True, False])
async def test_the_same_message_can_be_sent_again_by_the_error(stored: bool) -> None:
    service = Service()
    async with service.app.test() as bus:
        bus.faults.unknown(ORDERS, stored=stored)
        with pytest.raises(PublishUnknown) as caught:
            await publish(bus, "1")
        confirmed = await caught.value.retry()
        await bus.drain()
        assert service.ids == ["1", "1"] if stored else ["1"]
        assert {message.id for message in bus.messages(ORDERS)} == {confirmed.id}


async def test_nothing_of_a_key_is_stored_behind_what_may_not_be() -> None:
    service = Service()
    async with service.app.test() as bus:
        bus.faults.unknown(ORDERS, stored=False)
        results = await asyncio.gather(
            publish(bus, "1"), publish(bus, "2"), publish(bus, "3/other"), return_exceptions=True
        )
        assert [type(result) for result in results] == [PublishUnknown, PublishRefused, type(None)]
        await bus.drain()
        assert service.ids == ["3"]


# -------------------------------------------------------------------- away


async def test_while_the_broker_is_away_nothing_is_published_and_nothing_delivered() -> None:
    service = Service()
    async with service.app.test() as bus:
        await bus.publish(ORDERS, Order("1"), delay=60)
        with bus.faults.away():
            with pytest.raises(PublishRefused, match="away"):
                await publish(bus, "2")
            await bus.advance(timedelta(hours=1))
            await never(lambda: service.seen)
            assert "away" in (service.app.consumer(ORDERS).trouble or "")
        await bus.drain()
        assert service.ids == ["1"]
        assert service.app.consumer(ORDERS).trouble is None


async def test_what_was_handled_while_the_broker_was_away_is_settled_when_it_is_back() -> None:
    app, go, ended = App("a"), asyncio.Event(), list[str]()

    @app.consume(ORDERS)
    async def handle(order: Order) -> None:
        await go.wait()
        ended.append(order.order_id)

    async with app.test() as bus:
        await publish(bus, "1")
        await until(lambda: "has been running" in bus.explain())
        with bus.faults.away():
            go.set()
            await until(lambda: "the broker does not know it yet" in bus.explain())
            await never(lambda: "the broker does not know it yet" not in bus.explain())
        await bus.drain()
        assert ended == ["1"]
        assert "left:" not in bus.explain()


async def test_draining_while_the_broker_is_away_fails_at_once() -> None:
    async with Service().app.test() as bus:
        with bus.faults.away(), pytest.raises(BusError, match="after the block"):
            await bus.drain(timeout=60)


async def test_the_application_stops_while_the_broker_is_away() -> None:
    service = Service()
    async with asyncio.timeout(5):
        async with service.app.test() as bus:
            bus.faults.away().__enter__()  # and never left
            await bus.advance(1)
    assert service.ids == []


async def test_the_broker_is_away_once_at_a_time() -> None:
    async with Service().app.test() as bus:
        with bus.faults.away(), pytest.raises(ConfigurationError, match="already"), bus.faults.away():
            pass


# -------------------------------------------------------------------- what happened, and what did not


async def test_a_fault_that_did_not_happen_fails_the_test_with_a_list() -> None:
    async def test() -> None:
        async with Service().app.test() as bus:
            bus.faults.drop(ORDERS)
            bus.faults.duplicate(ORDERS, times=3)
            bus.faults.refuse(INVOICES, only=lambda invoice: invoice.order_id == "none")
            await publish(bus, "1")
            await bus.drain()

    with pytest.raises(BusError) as caught:
        await test()
    text = str(caught.value)
    assert "drop(" not in text.partition("So far")[0]
    assert "duplicate(orders/billing) happened 1 of 3 times" in text
    assert "refuse(invoices) happened 0 of 1 times" in text
    assert '#1 orders {"order_id":"1"' in text


async def test_a_fault_that_need_not_happen_does_not_fail_the_test() -> None:
    async with Service().app.test() as bus:
        fault = bus.faults.drop(ORDERS, required=False)
    assert fault.fired == 0


async def test_a_test_that_fails_by_itself_keeps_its_own_error() -> None:
    async def test() -> None:
        async with Service().app.test() as bus:
            bus.faults.drop(ORDERS)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await test()


async def test_faults_follow_one_another_in_the_order_they_were_armed() -> None:
    service = Service()
    async with service.app.test() as bus:
        start = bus.clock.time()
        bus.faults.delay(ORDERS, 5)
        bus.faults.drop(ORDERS)
        bus.faults.crash_at_settle(ORDERS)
        bus.faults.lose_lease(ORDERS)
        await publish(bus, "1")
        await bus.drain()
        assert service.ids == ["1", "1", "1"]
        assert passed(bus, start) == 5 + LEASE


async def test_the_fault_that_was_armed_first_hits_first() -> None:
    service = Service()
    async with service.app.test() as bus:
        bus.faults.delay(ORDERS, 60)
        bus.faults.delay(ORDERS, 5)
        await publish(bus, "1", "2")
        await bus.drain()
        assert service.ids == ["2", "1"]


async def test_a_fault_hits_only_what_it_is_meant_for() -> None:
    service = Service()
    async with service.app.test() as bus:
        bus.faults.duplicate(ORDERS, only=lambda order: order.order_id == "2")
        await publish(bus, "1", "2", "3")
        await bus.drain()
        assert sorted(service.ids) == ["1", "2", "2", "3"]


async def test_a_mistake_in_what_tells_them_apart_is_raised_by_drain() -> None:
    async with Service().app.test() as bus:
        bus.faults.drop(ORDERS, only=lambda order: order.nope, required=False)  # type: ignore[attr-defined]
        await publish(bus, "1")
        with pytest.raises(AttributeError, match="nope"):
            await bus.drain()


Arm = Callable[[TestBus], Fault]


@pytest.mark.parametrize(
    ("arm", "says"),
    [
        (lambda bus: bus.faults.drop(INVOICES), r"drop\(invoices\): nobody in this application consumes it"),
        (lambda bus: bus.faults.drop(ORDERS, group="x"), r"drop\(orders\): no group 'x' in this application"),
        (lambda bus: bus.faults.drop(ORDERS), r"several groups consume it: say which with group='one' or group='two'"),
        (lambda bus: bus.faults.reorder(ORDERS, group="two"), r"reorder\(orders\): orders/two is consumed ordered"),
        (lambda bus: bus.faults.drop("orders"), r"drop\('orders'\): give the Topic object"),
        (lambda bus: bus.faults.refuse("orders"), r"refuse\('orders'\): give the Topic object"),
        (lambda bus: bus.faults.refuse(ORDERS, times=0), r"refuse\(…, times=0\): at least once"),
        (lambda bus: bus.faults.delay(ORDERS, -1, group="one"), r"duration"),
    ],
)
async def test_a_fault_that_could_never_happen_is_refused(arm: Arm, says: str) -> None:
    app = App("a")

    @app.consume(ORDERS, group="one")
    async def one(_: Order) -> None:
        raise Reject

    @app.consume(ORDERS, group="two", ordered=True)
    async def two(_: Order) -> None:
        raise Reject

    async with app.test() as bus:
        with pytest.raises(ConfigurationError, match=says):
            arm(bus)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("seed", range(12))
async def test_whatever_goes_wrong_nothing_is_lost_and_keys_keep_their_order(seed: int, ordered: bool) -> None:
    chance = random.Random(seed)
    service = Service(ordered=ordered, retry=Retry.fixed(100, delay=7), concurrency=chance.choice([1, 3, 10]))
    async with service.app.test() as bus:
        faults = bus.faults
        kinds: list[Callable[..., Fault]] = [
            faults.drop,
            faults.duplicate,
            faults.lose_lease,
            lambda topic, **more: faults.delay(topic, chance.randrange(1, 60), **more),
            lambda _, **more: faults.refuse(INVOICES, **more),
            lambda _, **more: faults.unknown(INVOICES, stored=chance.random() < 0.5, **more),
            faults.crash_at_settle,
            *([] if ordered else [faults.reorder]),
        ]
        sent = [f"{number}/{chance.choice('abc')}" for number in range(20)]
        for order in sent:
            if chance.random() < 0.6:
                chance.choice(kinds)(ORDERS, times=chance.randrange(1, 4), required=False)
            await publish(bus, order)
            if chance.random() < 0.1:
                await bus.advance(chance.randrange(20))
            if chance.random() < 0.1:
                with faults.away():
                    await asyncio.sleep(chance.random() / 100)
        await bus.drain()
        assert bus.dead_letters(ORDERS) == []
        assert {invoice.order_id for invoice in bus.published(INVOICES)} == {order.partition("/")[0] for order in sent}
        for key in "abc" if ordered else "":
            firsts = list(dict.fromkeys(order.order_id for order in service.seen if order.customer == key))
            assert firsts == [order.partition("/")[0] for order in sent if order.endswith(f"/{key}")]
        assert "nothing is left" in bus.explain()
