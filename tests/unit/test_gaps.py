"""What a broker cannot do is refused before anything starts: every gap, with the fix; also what only a connection tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from waybill import App, CapabilityError, Settings, Topic, TopicPattern
from waybill.adapter import Capabilities
from waybill.brokers import Brokers
from waybill.clock import SystemClock
from waybill.gaps import gaps
from waybill.loading import AdapterContext, open_adapter
from waybill.topology import Topology

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
    found = gaps(topology, app.registrations, NOTHING)
    assert any(said in gap and "the poor broker" in gap for gap in found), found


def test_what_is_served_is_no_gap() -> None:
    app = App("a")
    app.consume(Topic("t", str, key=str, retention=9, max_length=9, dedup_window=9), ordered=True, start="earliest")(
        _handle
    )
    app.consume(TopicPattern("orders.*", str), ephemeral=True)(_handle)
    topology = Topology(app.topology.topics, [r.subscription for r in app.registrations])
    can = open_adapter("memory://", AdapterContext(application="a", clock=SystemClock(), options={})).claims
    assert gaps(topology, app.registrations, can) == []


async def test_what_turns_out_to_be_missing_when_connected_is_refused_then() -> None:
    class Older:
        """A broker whose version cannot what the newest can."""

        def __init__(self) -> None:
            self.inner: Any = open_adapter(
                "memory://", AdapterContext(application="a", clock=SystemClock(), options={})
            )
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
            return msgspec.structs.replace(self.inner.claims, ordered=False)

    older = Older()
    app = App("a")
    app.consume(orders, ordered=True)(_handle)
    with pytest.raises(CapabilityError, match="drop ordered=True"):
        async with app._open(Brokers({None: older}), Settings(url="memory://"), SystemClock(), consume=True):  # type: ignore[dict-item]
            pass
    assert older.entered
