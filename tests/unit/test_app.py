"""The application: registration, publishing, ids and stories, middleware, running."""

from __future__ import annotations

import asyncio
import functools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from waybill import (
    AdapterNotFound,
    App,
    ClosedError,
    ConfigurationError,
    Confirmed,
    Delivery,
    DestinationMissing,
    EncodeError,
    Handler,
    Outgoing,
    PublishRefused,
    Refused,
    Reject,
    Retry,
    Send,
    Settings,
    Topic,
    TopologyMismatch,
)

from .stand_ins import until

if TYPE_CHECKING:
    from waybill.message import Missing  # type: ignore[attr-defined]


@dataclass
class Order:
    order_id: str
    customer_id: str = "c"


@dataclass
class Other:
    number: int


ORDERS = Topic("orders", Order, key=lambda order: order.customer_id, unrouted="accept")
AUDIT = Topic("audit", str, unrouted="accept")
MEMORY = Settings(url="memory://")


async def nop(_: Order) -> None:
    pass


# ------------------------------------------------------------------ registration


@pytest.mark.parametrize("name", ["", "a b", "-a", "a..b", "ä", "a/b", "x" * 129, None, 7])
def test_names_that_some_broker_cannot_carry_are_refused_for_apps_groups_and_topics(name: Any) -> None:
    for make in (
        lambda: App(name),
        lambda: Topic(name, Order),
        lambda: App("a").consume(ORDERS, group="" if name is None else name),
    ):
        with pytest.raises(ConfigurationError, match="128"):
            make()


@pytest.mark.parametrize("wrong", ["orders", Order, None])
def test_consuming_something_else_than_a_topic_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="Topic object"):
        App("a").consume(wrong)


def test_ordered_without_a_key_names_the_fix() -> None:
    with pytest.raises(ConfigurationError, match="key=lambda"):
        App("a").consume(AUDIT, ordered=True)


def test_a_second_handler_of_a_group_is_refused_and_told_what_to_do() -> None:
    app = App("a")
    app.consume(ORDERS)(nop)
    with pytest.raises(ConfigurationError, match="group of its own"):
        app.consume(ORDERS)(nop)
    app.consume(ORDERS, group="other")(nop)


async def _none() -> None:
    pass


async def _three(a: Order, b: Any, c: Any) -> None:
    pass


async def _other(value: Other) -> None:
    pass


async def _keyword(order: Order, *, database: str) -> None:
    pass


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (_none, "0 arguments"), (_three, "3 arguments"), (_other, "carries Order"),
        (7, "no function"), (_keyword, "database"),
    ],
)  # fmt: skip
def test_a_handler_that_cannot_be_called_is_refused_when_it_is_registered(handler: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        App("a").consume(ORDERS)(handler)


async def test_handlers_may_be_methods_partials_and_callable_objects() -> None:
    seen: list[tuple[str, Any]] = []

    class Service:
        async def method(self, order: Order) -> None:
            seen.append(("method", order))

        async def __call__(self, order: Order, delivery: Delivery[Order]) -> None:
            assert delivery.value is order
            seen.append(("call", order))

    async def bound(prefix: str, order: Order) -> None:
        seen.append((prefix, order))

    app = App("a")
    app.consume(ORDERS, group="g1")(Service().method)
    app.consume(ORDERS, group="g2")(Service())
    app.consume(ORDERS, group="g3")(functools.partial(bound, "partial"))
    async with app.test() as bus:
        await bus.publish(ORDERS, Order("1"))
        await bus.drain()
    assert sorted(name for name, _ in seen) == ["call", "method", "partial"]


def test_a_handler_whose_hints_exist_for_type_checkers_only_is_accepted() -> None:
    async def handler(value: Missing) -> None:
        pass

    App("a").consume(ORDERS)(handler)


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"timeout": -1}, {"timeout": "1"}, {"window": 1}])
def test_options_that_cannot_work_are_refused_when_registering(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        App("a").consume(ORDERS, **options)


def test_the_topology_names_every_topic_and_group_of_the_code() -> None:
    app = App("billing")
    app.consume(Topic("t", Order, groups=["billing", "shipping"]))(nop)
    topology = app.topology
    assert [topic.name for topic in topology.topics] == ["t"]
    assert sorted(s.name for s in topology.subscriptions) == ["t/billing", "t/shipping"]


# ------------------------------------------------------------------ publishing


async def test_publishing_outside_running_is_a_closed_error() -> None:
    app = App("a", settings=MEMORY)
    for _ in range(2):
        with pytest.raises(ClosedError, match="not running"):
            await app.publish(ORDERS, Order("1"))
        with pytest.raises(ClosedError):
            await app.publish_many(ORDERS, [Order("1")])
        async with app.running():
            await app.publish(ORDERS, Order("1"))


async def test_a_publish_that_cannot_be_encoded_is_told_and_sends_nothing() -> None:
    async with App("a").test() as bus:
        with pytest.raises(EncodeError):
            await bus.publish(ORDERS, cast("Order", Other(1)))
        assert bus.published(ORDERS) == []


@pytest.mark.parametrize("key", ["", 7, b"k", "\ud800"])
async def test_a_key_that_is_no_text_is_refused_to_its_publisher_alone(key: Any) -> None:
    async with App("a", settings=MEMORY).running() as app:
        good, bad = await asyncio.gather(
            app.publish(ORDERS, Order("1"), key="fine"),
            app.publish(ORDERS, Order("2"), key=key),
            return_exceptions=True,
        )
    assert type(good) is Confirmed
    assert isinstance(bad, EncodeError | ConfigurationError)


@pytest.mark.parametrize("what", ["delay", "expires", "deadline"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 1e15, timedelta.max, "5", True])
async def test_a_duration_that_cannot_be_used_is_a_configuration_error(what: str, value: Any) -> None:
    options: dict[str, Any] = {what: value}
    async with App("a").test() as bus:
        try:
            await bus.publish(AUDIT, "x", **options)
        except ConfigurationError:
            return
        assert what == "deadline", "a deadline may be far away"


async def test_publish_many_gives_one_result_each_in_order() -> None:
    async with App("a", settings=MEMORY).running() as app:
        values: list[Any] = [Order("1"), Other(2), Order("3")]
        results = await app.publish_many(ORDERS, values)
    assert [type(result) for result in results] == [Confirmed, Refused, Confirmed]


async def test_publish_many_refuses_a_value_whose_key_fails_and_sends_the_rest() -> None:
    def key(value: Order) -> str:
        if value.order_id == "bad":
            raise KeyError(value.order_id)
        return value.order_id

    topic = Topic("keyed", Order, key=key, unrouted="accept")
    async with App("a", settings=MEMORY).running() as app:
        results = await app.publish_many(topic, [Order("1"), Order("bad"), Order("3")])
    assert [type(result) for result in results] == [Confirmed, Refused, Confirmed]


async def test_publish_many_takes_only_so_many_values_ahead_of_the_broker_with_middleware_too() -> None:
    release = asyncio.Event()
    taken = 0

    def slow(send: Send) -> Send:
        async def wait(outgoing: Outgoing) -> Confirmed:
            await release.wait()
            return await send(outgoing)

        return wait

    def values() -> Iterator[str]:
        nonlocal taken
        for taken in range(1, 2_001):  # noqa: B007
            yield "x"

    app = App("a", settings=Settings(url="memory://", publish_buffer=100), send_middleware=[slow])
    async with app.running():
        publishing = asyncio.ensure_future(app.publish_many(AUDIT, values()))
        await asyncio.sleep(0.3)
        ahead = taken
        release.set()
        assert len(await publishing) == 2_000
    assert ahead < 2_000


async def test_what_is_too_large_is_refused_before_it_is_sent() -> None:
    topic = Topic("blobs", bytes, unrouted="accept")
    async with App("a", settings=MEMORY).running() as app:
        with pytest.raises(PublishRefused, match="bytes"):
            await app.publish(topic, bytes((16 << 20) + 1))
        with pytest.raises(PublishRefused, match="headers"):
            await app.publish(topic, b"", headers={f"h{n}": "x" * 8000 for n in range(40)})


async def test_publishing_to_the_name_of_a_topic_is_refused() -> None:
    async with App("a", settings=MEMORY).running() as app:
        with pytest.raises(ConfigurationError, match="Topic object"):
            await app.publish(cast("Topic[str]", "audit"), "x")


async def test_the_groups_of_a_topic_get_what_is_published_before_their_first_consumer() -> None:
    topic = Topic("early", str, groups=["late"])
    seen: list[str] = []
    late = App("late", settings=Settings(url="memory://early-and-late"))

    @late.consume(topic)
    async def handle(value: str) -> None:
        seen.append(value)

    async with App("early", settings=Settings(url="memory://early-and-late")).running() as early:
        await early.publish(topic, "x")
        async with late.running():
            await until(lambda: seen == ["x"])


# ------------------------------------------------------------------ ids and stories


async def test_a_second_attempt_publishes_the_same_ids() -> None:
    app = App("a")

    @app.consume(ORDERS, retry=Retry.fixed(3, delay=1))
    async def handle(order: Order, delivery: Delivery[Order]) -> None:
        for n in range(2):
            await app.publish(AUDIT, f"{order.order_id}-{n}")
        await app.publish(OTHER, Other(1))
        if delivery.attempt < 3:
            raise ValueError

    async with app.test() as bus:
        await bus.publish(ORDERS, Order("1"))
        await bus.publish(ORDERS, Order("2", "d"))
        await bus.drain()
        ids = [item.id for item in bus.messages(AUDIT)]
        assert len(ids) == 12
        assert len(set(ids)) == 4
        assert not {item.id for item in bus.messages(OTHER)} & set(ids)
        assert all(uuid.UUID(ident).version == 5 for ident in ids)


OTHER = Topic("other", Other)


async def test_two_groups_that_answer_the_same_message_publish_different_ids() -> None:
    app = App("a")

    @app.consume(ORDERS, group="one")
    async def first(_: Order) -> None:
        await app.publish(AUDIT, "one")

    @app.consume(ORDERS, group="two")
    async def second(_: Order) -> None:
        await app.publish(AUDIT, "two")

    async with app.test() as bus:
        await bus.publish(ORDERS, Order("1"))
        await bus.drain()
        assert sorted(bus.published(AUDIT)) == ["one", "two"]
        assert len({item.id for item in bus.messages(AUDIT)}) == 2, "a deduplicating consumer would drop one of them"


async def test_correlation_and_causation_tell_the_story_over_hops_and_a_retry() -> None:
    app, hops = App("a"), [Topic(f"hop{n}", int) for n in range(3)]

    @app.consume(hops[0])
    async def zero(value: int) -> None:
        await app.publish(hops[1], value)

    @app.consume(hops[1], retry=Retry.fixed(2, delay=1))
    async def one(value: int, delivery: Delivery[int]) -> None:
        if delivery.attempt == 1:
            raise ValueError
        await app.publish(hops[2], value)

    async with app.test() as bus:
        await bus.publish(hops[0], 1)
        await bus.drain()
        a, b, c = (bus.messages(hop)[0] for hop in hops)
    assert (a.correlation_id, a.causation_id) == (None, None)
    assert (b.correlation_id, b.causation_id) == (a.id, a.id)
    assert (c.correlation_id, c.causation_id) == (a.id, b.id)
    assert {item.source for item in (a, b, c)} == {"a"}


async def test_the_headers_of_a_message_are_not_copied_to_what_its_handler_publishes() -> None:
    app = App("a")

    @app.consume(ORDERS)
    async def handle(_: Order) -> None:
        await app.publish(AUDIT, "x")

    async with app.test() as bus:
        await bus.publish(ORDERS, Order("1"), headers={"mine": "1"})
        await bus.drain()
        assert dict(bus.messages(AUDIT)[0].headers) == {}


# ------------------------------------------------------------------ middleware


async def test_the_first_middleware_is_the_outermost_on_both_sides() -> None:
    steps: list[str] = []

    def consuming(name: str) -> Any:
        def wrap(handler: Handler) -> Handler:
            async def wrapped(delivery: Delivery[Any]) -> None:
                steps.append(f"{name} in")
                await handler(delivery)
                steps.append(f"{name} out")

            return wrapped

        return wrap

    def sending(name: str) -> Any:
        def wrap(send: Send) -> Send:
            async def wrapped(outgoing: Outgoing) -> Confirmed:
                steps.append(f"send {name}")
                return await send(outgoing)

            return wrapped

        return wrap

    app = App("a", middleware=[consuming("1"), consuming("2")], send_middleware=[sending("1"), sending("2")])

    @app.consume(ORDERS)
    async def handle(_: Order) -> None:
        steps.append("handler")

    async with app.test() as bus:
        await bus.publish(ORDERS, Order("1"))
        await bus.drain()
    assert steps == ["send 1", "send 2", "1 in", "2 in", "handler", "2 out", "1 out"]


async def test_a_middleware_can_decide_about_a_message_it_does_not_decode() -> None:
    def refuse(_: Handler) -> Handler:
        async def wrapped(delivery: Delivery[Any]) -> None:
            raise Reject(f"not {delivery.message.id[:0]}today")

        return wrapped

    app = App("a", middleware=[refuse])
    app.consume(ORDERS)(nop)
    async with app.test() as bus:
        await bus.publish(ORDERS, Order("1"))
        await bus.drain()
        assert [letter.record.detail for letter in bus.dead_letters(ORDERS)] == ["not today"]


# ------------------------------------------------------------------ running


async def test_an_application_runs_once_at_a_time_and_again_later() -> None:
    app = App("a", settings=MEMORY)
    async with app.running():
        with pytest.raises(ConfigurationError, match="running already"):
            async with app.running():
                pass
    async with app.running():
        await app.publish(AUDIT, "x")


async def test_two_starts_at_the_same_moment_do_not_both_succeed() -> None:
    app = App("a", settings=MEMORY)
    app.consume(ORDERS)(nop)
    entered = 0

    async def run() -> None:
        nonlocal entered
        async with app.running():
            entered += 1
            await asyncio.sleep(0.05)

    results = await asyncio.gather(run(), run(), return_exceptions=True)
    assert entered == 1
    assert [type(r) for r in results if r is not None] == [ConfigurationError]


async def test_lifespan_runs_the_application() -> None:
    app, seen = App("a", settings=MEMORY), list[Order]()

    @app.consume(ORDERS)
    async def handle(order: Order) -> None:
        seen.append(order)

    async with app.lifespan(object()):
        await app.publish(ORDERS, Order("1"))
        await until(lambda: seen)
    with pytest.raises(ClosedError):
        await app.publish(ORDERS, Order("2"))


async def test_publish_only_runs_no_handler() -> None:
    app = App("a", settings=MEMORY)
    app.consume(ORDERS)(nop)
    async with app.running(consume=False):
        assert type(await app.publish(ORDERS, Order("1"))) is Confirmed


async def test_an_unknown_scheme_is_refused_with_what_there_is() -> None:
    with pytest.raises(AdapterNotFound, match="Check the URL"):
        async with App("a", settings=Settings(url="carrier-pigeon://x")).running():
            pass


async def test_verify_refuses_a_broker_that_lacks_something_and_names_it() -> None:
    app = App("a", settings=Settings(url="memory://", topology="verify"))
    app.consume(ORDERS)(nop)
    with pytest.raises(ConfigurationError, match="group orders/a"):
        async with app.running():
            pass


async def test_handlers_may_publish_while_the_application_shuts_down() -> None:
    app, started = App("a", settings=Settings(url="memory://shutting-down")), asyncio.Event()
    done: list[Confirmed] = []

    @app.consume(ORDERS)
    async def handle(_: Order) -> None:
        started.set()
        await asyncio.sleep(0.05)
        done.append(await app.publish(AUDIT, "x"))

    async with app.running():
        await app.publish(ORDERS, Order("1"))
        await started.wait()
    assert len(done) == 1


async def test_nothing_runs_on_after_the_application_has_stopped() -> None:
    before = asyncio.all_tasks()
    app = App("a", settings=MEMORY)
    app.consume(ORDERS)(nop)
    async with app.running():
        await app.publish(ORDERS, Order("1"))
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_what_a_handler_publishes_carries_the_trace_on() -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    app, got = App("a"), list[str | None]()
    first, second = Topic("first", int), Topic("second", int)

    def traced(send: Send) -> Send:
        async def sent(outgoing: Outgoing) -> Confirmed:
            if outgoing.topic == "first":
                message = msgspec.structs.replace(outgoing.message, traceparent=traceparent, tracestate="a=b")
                outgoing = msgspec.structs.replace(outgoing, message=message)
            return await send(outgoing)

        return sent

    app = App("a", send_middleware=[traced])

    @app.consume(first)
    async def hop(number: int) -> None:
        await app.publish(second, number)

    @app.consume(second)
    async def end(_: int, delivery: Delivery[int]) -> None:
        got.extend([delivery.message.traceparent, delivery.message.tracestate])

    async with app.test() as bus:
        await bus.publish(first, 1)
        await bus.drain()
    assert got == [traceparent, "a=b"]


async def test_a_handler_sees_the_users_headers_and_none_of_ours() -> None:
    app, got = App("a"), list[dict[str, str]]()
    topic = Topic("t", int, key=str)

    @app.consume(topic, retry=Retry.fixed(2, delay=1))
    async def handle(_: int, delivery: Delivery[int]) -> None:
        got.append(dict(delivery.message.headers))
        if delivery.attempt == 1:
            raise ValueError

    async with app.test() as bus:
        await bus.publish(topic, 1, headers={"mine": "yes"}, expires=60)
        await bus.drain()
    assert got == [{"mine": "yes"}] * 2


async def test_assumed_topics_that_are_missing_are_an_error_at_the_first_use_and_never_a_hang(tmp_path: Path) -> None:
    settings = Settings(url=f"sqlite:///{tmp_path / 'bus.db'}", topology="assume")
    publisher = App("p", settings=settings)
    async with publisher.running():
        with pytest.raises(PublishRefused, match="does not exist"):
            await publisher.publish(Topic("t", int), 1)
    consumer = App("c", settings=settings)
    consumer.consume(Topic("t", int))(count)
    with pytest.raises(DestinationMissing, match="waybill topology apply"):
        async with consumer.running():
            pass


async def test_applying_deletes_nothing_that_the_code_does_not_name(tmp_path: Path) -> None:
    settings = Settings(url=f"sqlite:///{tmp_path / 'bus.db'}")
    kept = Topic("kept", int, groups=["theirs"])
    async with App("a", settings=settings).running() as app:
        await app.publish(kept, 1)
    other = App("b", settings=settings, topics=[Topic("mine", int, groups=["g"])])
    async with other.admin() as admin:
        await admin.apply(await admin.plan(other.topology))
        (theirs,) = kept.subscriptions()
        assert (await admin.backlog(theirs)).ready.value == 1


async def test_topics_that_are_only_published_to_are_declared_with_the_application(tmp_path: Path) -> None:
    settings = Settings(url=f"sqlite:///{tmp_path / 'bus.db'}", topology="verify")
    shop = App("shop", settings=settings, topics=[Topic("orders", int, groups=["billing"])])
    with pytest.raises(TopologyMismatch, match="topic orders"):
        async with shop.running():
            pass
    async with shop.admin() as admin:
        await admin.apply(await admin.plan(shop.topology))
    async with shop.running():
        await shop.publish(Topic("orders", int, groups=["billing"]), 1)
    with pytest.raises(ConfigurationError, match="give Topic objects"):
        App("shop", topics=["orders"])  # type: ignore[list-item]


async def test_the_effective_timeline_is_told_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    app = App("a", settings=MEMORY)
    app.consume(Topic("t", int))(count)
    with caplog.at_level("INFO", logger="waybill"):
        async with app.running():
            pass
    assert "t/a: count; a message that fails: 5 attempts within 15 s" in caplog.text


async def test_verify_refuses_what_differs_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bus.db'}"
    async with App("a", settings=Settings(url=url), topics=[Topic("t", int, retention=60)]).running():
        pass
    other = App("a", settings=Settings(url=url, topology="verify"), topics=[Topic("t", int, retention=120)])
    with pytest.raises(TopologyMismatch, match=r"topic t retention: 60 s there, 2 min in the code"):
        async with other.running():
            pass


async def count(_: int) -> None: ...
