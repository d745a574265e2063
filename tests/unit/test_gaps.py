"""What a broker cannot do is refused before anything starts: every gap, with the fix; also what only a connection tells."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from importlib.metadata import entry_points
from typing import Any

import msgspec
import pytest

from tests.unit.stand_ins import until
from waybill import App, CapabilityError, Confirmed, Refused, Settings, Topic, TopicPattern
from waybill.adapter import Capabilities
from waybill.brokers import Brokers
from waybill.clock import SystemClock
from waybill.gaps import KEEPS_HISTORY, REFUSES, REPLAYS, gaps
from waybill.loading import AdapterContext, open_adapter
from waybill.message import Outgoing
from waybill.middleware import Send
from waybill.topology import TopicSpec, Topology

orders = Topic("orders", str, key=lambda text: text)
NOTHING = Capabilities(broker="the poor broker", ordered=False, durable=False, relaxes=False)


async def _handle(_: Any) -> None: ...


@pytest.mark.parametrize(
    ("register", "said"),
    [
        (lambda app: app.consume(orders, ordered=True), "drop ordered=True"),
        (lambda app: app.consume(orders, ordered=True, on_failure="relax"), "on_failure='block-key'"),
        (lambda app: app.consume(orders, ordered=True, on_failure="block-partition"), "on_failure='block-key'"),
        (lambda app: app.consume(TopicPattern("orders.*", str)), "consume the topics by name"),
        (lambda app: app.consume(orders, ephemeral=True), "give it a group of its own"),
        (lambda app: app.consume(Topic("t", str, retention=60), start="earliest"), "drop start='earliest'"),
        (lambda app: app.consume(Topic("t", str, retention=60)), "drop retention"),
        (lambda app: app.consume(Topic("t", str, max_length=60)), "drop max_length"),
        (lambda app: app.consume(Topic("t", str, dedup_window=60)), "shorten or drop it"),
    ],
)
def test_each_need_that_is_not_served_is_named_with_the_fix(register: Callable[[App], Any], said: str) -> None:
    app = App("a")
    register(app)(_handle)
    topology = Topology(app.topology.topics, [r.subscription for r in app.registrations])
    found = gaps(topology, app.registrations, lambda _: NOTHING)
    assert any(said in gap and "the poor broker" in gap for gap in found), found


def test_the_brokers_that_are_named_as_serving_a_need_are_those_that_claim_to() -> None:
    context = AdapterContext(application="a", clock=SystemClock(), options={})
    schemes = {point.name for point in entry_points(group="waybill.adapters")} - {
        "sqlite"
    }  # memory:// has the same adapter
    for can in (open_adapter(f"{scheme}://localhost", context).claims for scheme in schemes):
        assert (can.broker in KEEPS_HISTORY) == can.history, can.broker
        assert (can.broker in REPLAYS) == can.replays, can.broker
        assert (can.broker in REFUSES) == can.limits_length, can.broker


def test_what_is_served_is_no_gap() -> None:
    app = App("a")
    app.consume(Topic("t", str, key=str, retention=9, max_length=9, dedup_window=9), ordered=True, start="earliest")(
        _handle
    )
    app.consume(TopicPattern("orders.*", str), ephemeral=True)(_handle)
    topology = Topology(app.topology.topics, [r.subscription for r in app.registrations])
    can = open_adapter("memory://", AdapterContext(application="a", clock=SystemClock(), options={})).claims
    assert gaps(topology, app.registrations, lambda _: can) == []


class Lacking:
    """A broker whose version cannot what the newest can; it knows that when it is connected."""

    def __init__(self, **lacks: Any) -> None:
        self.inner: Any = open_adapter("memory://", AdapterContext(application="a", clock=SystemClock(), options={}))
        self.lacks = lacks
        self.entered = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def __aenter__(self) -> Any:
        self.entered = True
        return await self.inner.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        await self.inner.__aexit__(*error)

    @property
    def capabilities(self) -> Capabilities:
        return msgspec.structs.replace(self.inner.claims, **self.lacks)

    def running(self, app: App) -> AbstractAsyncContextManager[Any]:
        brokers: Any = Brokers({None: self})  # type: ignore[dict-item]
        return app._open(brokers, Settings(url="memory://"), SystemClock(), consume=True)


async def test_what_turns_out_to_be_missing_when_connected_is_refused_then() -> None:
    older = Lacking(ordered=False)
    app = App("a")
    app.consume(orders, ordered=True)(_handle)
    with pytest.raises(CapabilityError, match="drop ordered=True"):
        async with older.running(app):
            pass
    assert older.entered


class Varying(Lacking):
    """A broker that keeps order in some of its topics."""

    def narrowed(self, can: Capabilities, topic: TopicSpec) -> Capabilities:
        return msgspec.structs.replace(can, ordered=topic.name.endswith("in-order"))


async def test_what_a_kind_of_topic_cannot_is_refused_for_that_kind_alone() -> None:
    app = App("a")
    app.consume(orders, Topic("orders.in-order", str, key=lambda text: text), ordered=True)(_handle)
    with pytest.raises(CapabilityError, match="drop ordered=True") as caught:
        async with Varying().running(app):
            pass
    assert "orders/a" in str(caught.value)
    assert "in-order" not in str(caught.value)


async def test_a_delay_is_refused_where_nothing_is_delivered_later() -> None:
    seen: list[str] = []
    app = App("a")

    @app.consume(orders)
    async def note(order: str) -> None:
        seen.append(order)

    async with Lacking(delays=False, broker="the prompt broker").running(app):
        with pytest.raises(CapabilityError, match="orders: the prompt broker delivers nothing later: drop delay"):
            await app.publish(orders, "later", delay=0.01)
        await app.publish(orders, "now")
        await until(lambda: seen)
    assert seen == ["now"]


async def test_a_delay_that_the_send_middleware_gives_is_refused_as_well() -> None:
    def later(send: Send) -> Send:
        async def put_off(outgoing: Outgoing) -> Confirmed:
            due = outgoing.message.time + timedelta(seconds=1)
            return await send(
                msgspec.structs.replace(outgoing, message=msgspec.structs.replace(outgoing.message, due=due))
            )

        return put_off

    app = App("a", send_middleware=[later])
    app.consume(orders)(_handle)
    async with Lacking(delays=False).running(app):
        results = await app.publish_many(orders, ["one", "two"])
    assert [type(result) for result in results] == [Refused, Refused]
