"""What brokers and the index of dead letters say, read by a process that consumes nothing."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from tests.unit.stand_ins import until
from waybill import App, ConfigurationError, Reject, Retry, Settings, Topic, TopicPattern
from waybill.adapter import Admin
from waybill.cli.exporter import _look_on, _shares
from waybill.dlq.index import Index
from waybill.dlq.model import Action, State
from waybill.telemetry.exporting import Exporter
from waybill.telemetry.metrics import Metrics
from waybill.telemetry.tally import total
from waybill.topology import Backlog, Count, Exactness, Subscription, Topology

HOUR = 3600.0
numbers = Topic("numbers", int, groups=["odd"], max_length=500)
NONE = Count(None)
GROUP = Subscription(topic=numbers.spec, group="odd")


class Saying:
    """An `Admin` that says what it is told to."""

    def __init__(self, **figures: Count) -> None:
        told = dict.fromkeys(("ready", "in_flight", "delayed", "dead", "oldest", "next_due"), NONE) | figures
        self._backlog = Backlog(subscription=GROUP, **told)

    async def expand(self, subscription: Subscription) -> Sequence[Subscription]:
        return [subscription]

    async def backlog(self, _: Subscription) -> Backlog:
        return self._backlog


class Slow(Saying):
    """One that takes its time, in seconds."""

    def __init__(self, takes: float) -> None:
        super().__init__(ready=Count(7))
        self.takes = takes

    async def backlog(self, subscription: Subscription) -> Backlog:
        await asyncio.sleep(self.takes)
        return await super().backlog(subscription)


class Broken(Saying):
    """A share of an application, and its broker, that raise these first."""

    name = "odd"
    broker = None
    topology = Topology((numbers.spec,), (GROUP,))

    def __init__(self, *errors: Exception) -> None:
        super().__init__(ready=Count(7))
        self.errors = list(errors)
        self.looks = 0

    @asynccontextmanager
    async def admin(self) -> AsyncGenerator[Broken, None]:
        yield self

    async def expand(self, subscription: Subscription) -> list[Subscription]:
        return [subscription]

    async def backlog(self, subscription: Subscription) -> Backlog:
        self.looks += 1
        if self.errors:
            raise self.errors.pop(0)
        return await super().backlog(subscription)


def saying(**figures: Count) -> Admin:
    found: Any = Saying(**figures)
    return found


def told(exporter: Exporter, name: str, **labels: str) -> float:
    return total(exporter.collect(), name, destination="numbers", group="odd", **labels)


async def test_what_the_broker_cannot_say_is_left_out_and_what_it_estimates_is_marked() -> None:
    exporter = Exporter(keep=HOUR, objective=60.0, consumed=[("numbers", "odd")])
    about = Count(7, Exactness.APPROXIMATE)
    await exporter.look(
        saying(ready=about, in_flight=Count(2), oldest=Count(None, Exactness.UNKNOWN), dead=Count(3)), [GROUP]
    )
    names = {reading.metric.name for reading in exporter.collect() if reading.values}
    assert "waybill.oldest.message.age" not in names
    assert told(exporter, "waybill.backlog.messages") == 9
    assert told(exporter, "waybill.backlog.approximate") == 1
    assert told(exporter, "waybill.backlog.limit.messages") == 500
    assert told(exporter, "waybill.dlq.messages", state="unresolved") == 3
    assert told(exporter, "waybill.objective.age") == 60
    assert told(exporter, "waybill.consumers.expected") == 1


async def test_an_index_that_cannot_be_read_hides_no_figure_of_the_broker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "dlq.db").write_text("no database, and longer than the header that one would have at its beginning" * 9)
    exporter = Exporter(keep=HOUR, objective=60.0, index=tmp_path / "dlq.db")
    for _ in range(2):
        await exporter.look(saying(ready=Count(7), dead=Count(3)), [GROUP])
    assert told(exporter, "waybill.backlog.messages") == 7
    assert told(exporter, "waybill.dlq.messages", state="unresolved") == 3
    assert ["dlq.db" in record.getMessage() for record in caplog.records] == [True], "it is told once"


async def test_what_the_broker_cannot_count_it_does_not_estimate() -> None:
    exporter = Exporter(keep=HOUR, objective=60.0)
    await exporter.look(saying(ready=Count(None, Exactness.UNKNOWN)), [GROUP])
    assert told(exporter, "waybill.backlog.approximate") == 0


async def test_dead_letters_that_the_broker_cannot_count_are_not_zero() -> None:
    exporter = Exporter(keep=HOUR, objective=60.0)
    await exporter.look(saying(ready=Count(7), dead=Count(None, Exactness.UNKNOWN)), [GROUP])
    assert "waybill.dlq.messages" not in {reading.metric.name for reading in exporter.collect() if reading.values}


async def test_figures_are_told_until_they_are_too_old_and_what_should_be_there_always() -> None:
    now = [1000.0]
    exporter = Exporter(keep=45.0, objective=60.0, consumed=[("numbers", "odd")], clock=lambda: now[0])
    await exporter.look(saying(ready=Count(7)), [GROUP])
    assert total(exporter.collect(), "waybill.broker.up") == 1
    exporter.missed()
    now[0] += 45
    assert told(exporter, "waybill.backlog.messages") == 7
    assert total(exporter.collect(), "waybill.broker.up") == 0
    now[0] += 1
    assert not any(reading.metric.name == "waybill.backlog.messages" for reading in exporter.collect())
    assert told(exporter, "waybill.consumers.expected") == 1
    assert abs(total(exporter.collect(), "waybill.exporter.last.success.timestamp") - time.time()) < 60


async def test_a_look_may_take_long_where_there_are_many_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waybill.telemetry.exporting.PATIENCE", 3.0)
    admin, now = Slow(0.3), [0.0]
    exporter = Exporter(keep=45.0, objective=60.0, clock=lambda: now[0])
    looking = asyncio.ensure_future(exporter.look(cast("Any", admin), [GROUP] * 12))
    await asyncio.sleep(0)
    now[0] += 100
    await looking
    now[0] += 45 + 100  # the next look takes as long
    assert told(exporter, "waybill.backlog.messages") == 12 * 7
    admin.takes = 30
    with pytest.raises(TimeoutError):
        await exporter.look(cast("Any", admin), [GROUP])


async def test_an_adapter_that_breaks_when_looked_at_is_looked_at_again(caplog: pytest.LogCaptureFixture) -> None:
    broken, exporter = (
        Broken(ValueError("a bug"), ConfigurationError("not found"), TimeoutError()),
        Exporter(keep=HOUR, objective=HOUR),
    )
    await exporter.look(saying(ready=Count(7)), [GROUP])
    looking = asyncio.ensure_future(_look_on(cast("Any", broken), exporter, 0.01))
    await until(lambda: broken.looks >= 5)
    assert not looking.done()
    looking.cancel()
    assert total(exporter.collect(), "waybill.broker.up") == 1
    assert [word in caplog.text for word in ("a bug", "not found", "no answer in time")] == [True] * 3


async def test_of_several_brokers_one_that_is_silent_hides_only_its_own_figures(tmp_path: Path) -> None:
    urls = {name: f"sqlite:///{tmp_path}/{name}.db" for name in ("here", "there")}
    app = App("odd", settings=Settings(url=urls["here"], brokers={"there": urls["there"]}))
    topics: list[Topic[Any]] = [numbers, Topic("letters", str, broker="there")]
    for topic in topics:
        app.consume(topic, group="odd")(_nothing)
    async with App("odd", settings=Settings(url=urls["here"]), topics=[numbers]).running(consume=False) as here:
        await here.publish(numbers, 1)
    shares = _shares(app)
    exporter = Exporter(keep=HOUR, objective=HOUR, brokers=[share.broker for share in shares])

    def ready(topic: str) -> list[float]:
        found = [values for metric, values in exporter.collect() if metric.name == "waybill.ready.messages"]
        assert len(found) <= 1
        return [float(cast("Any", value)) for values in found for labels, value in values if labels[0] == topic]

    looking = asyncio.gather(*(_look_on(share, exporter, 0.01) for share in shares))
    try:
        await until(lambda: ready("numbers") == [1.0])
        assert (ready("letters"), total(exporter.collect(), "waybill.broker.up")) == ([], 0.0)
        assert total(exporter.collect(), "waybill.exporter.last.success.timestamp") == 0.0
        async with app.running(consume=False):  # which makes the file
            await until(lambda: ready("letters") == [0.0])
        await until(lambda: total(exporter.collect(), "waybill.broker.up") == 1.0)
        assert ready("numbers") == [1.0]
    finally:
        looking.cancel()


async def _nothing(_: Any) -> None: ...


async def test_what_is_wrong_with_the_configuration_from_the_beginning_ends_it() -> None:
    with pytest.raises(ConfigurationError):
        await _look_on(
            cast("Any", Broken(ConfigurationError("no such broker"))), Exporter(keep=HOUR, objective=HOUR), 0.01
        )


async def test_dead_letters_are_told_by_the_state_of_their_review(tmp_path: Path) -> None:
    """And those that the index has not seen yet are unresolved: the first of them must be noticed."""
    app = App("odd", settings=Settings(url=f"sqlite:///{tmp_path}/bus.db"))

    @app.consume(numbers)
    async def handle(number: int) -> None:
        raise Reject(str(number))

    exporter = Exporter(keep=HOUR, objective=HOUR, index=tmp_path / "dlq.db")
    async with app.running(), app.admin() as admin:
        await app.publish_many(numbers, range(5))
        async with asyncio.timeout(20):
            while told(exporter, "waybill.dlq.messages", state="unresolved") < 5:
                await exporter.look(admin, [GROUP])
                await asyncio.sleep(0.01)
        letters = (await admin.browse(GROUP)).messages
        ago = datetime.now(UTC) - timedelta(hours=5)
        old = msgspec.structs.replace(letters[0], dead=msgspec.structs.replace(letters[0].dead, at=ago))  # type: ignore[type-var]
        with Index.open(tmp_path / "dlq.db") as index:
            index.record("numbers", "odd", [old, *letters[1:3]], now=datetime.now(UTC))
            (found,) = index.find(letters[1].id)
            index.review([found.key], State.TRIAGED, Action(by="me"), owner="me", now=datetime.now(UTC))
        await exporter.look(admin, [GROUP])
    assert told(exporter, "waybill.dlq.messages", state="triaged") == 1
    assert told(exporter, "waybill.dlq.messages", state="unresolved") == 4
    assert told(exporter, "waybill.dlq.messages", state="resolved") == 0
    assert 5 * HOUR <= told(exporter, "waybill.dlq.oldest.unresolved.age") < 5 * HOUR + 60


async def test_what_a_pattern_stands_for_is_told_under_the_pattern_as_the_application_does(tmp_path: Path) -> None:
    """Or nothing could be compared with what is expected of it, nor with what is settled."""
    metrics = Metrics()
    topics = [Topic(name, int) for name in ("orders.placed", "orders.gone")]
    app = App(
        "audit", settings=Settings(url=f"sqlite:///{tmp_path}/bus.db"), topics=list(topics), instruments=[metrics]
    )

    @app.consume(TopicPattern("orders.*", int), retry=Retry.none())
    async def handle(number: int) -> None:
        if number:
            raise ValueError(number)

    consumed = [(each.subscription.topic.name, each.subscription.group) for each in app.registrations]
    exporter = Exporter(keep=HOUR, objective=HOUR, consumed=consumed, index=tmp_path / "dlq.db")
    async with app.running(), app.admin() as admin:
        for topic in topics:
            await app.publish_many(topic, range(3))
        async with asyncio.timeout(20):
            while total(metrics.collect(), "waybill.settled.messages") < 6:
                await asyncio.sleep(0.01)
        app.consumer(TopicPattern("orders.*", int)).pause()
        for topic in topics:
            await app.publish(topic, 0)
        with Index.open(tmp_path / "dlq.db") as index:
            for share in await admin.expand(app.topology.subscriptions[0]):
                letters = (await admin.browse(share)).messages
                index.record(share.topic.name, share.group, letters, now=datetime.now(UTC))
        await exporter.look(admin, app.topology.subscriptions)
    ours = {"waybill.backlog.messages": 2, "waybill.objective.age": HOUR, "waybill.consumers.expected": 1}
    labels = {"destination": "orders.*", "group": "audit"}
    for name, value in ours.items():
        assert total(exporter.collect(), name, **labels) == total(exporter.collect(), name) == value
    assert total(exporter.collect(), "waybill.dlq.messages", state="unresolved", **labels) == 4
    assert total(exporter.collect(), "waybill.dlq.messages") == 4
    assert 0 < total(exporter.collect(), "waybill.dlq.oldest.unresolved.age", **labels) < HOUR
    assert total(metrics.collect(), "waybill.settled.messages", **labels) >= 6


SERVICE = """
from waybill import App, Topic
app = App("odd")
numbers = Topic("numbers", int)
@app.consume(numbers)
async def handle(number: int) -> None: ...
"""


def test_the_command_tells_what_it_sees_and_ends_when_told(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    command = "from waybill.cli import main; raise SystemExit(main())"
    options = ["exporter", "--app", "service:app", "--listen", "127.0.0.1:0", "--every", "0.1"]
    process = subprocess.Popen(
        [sys.executable, "-c", command, *options],
        cwd=tmp_path,
        env={**os.environ, "WAYBILL_URL": f"sqlite:///{tmp_path}/bus.db"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        found = re.search(r"http://\S+", process.stderr.readline())
        assert found is not None
        assert "waybill_broker_up 0.0" in _scrape(found[0], "waybill_broker_up")  # there is no such file yet
        assert not (tmp_path / "bus.db").exists(), "who looks makes nothing"
        asyncio.run(_publish(tmp_path))
        _scrape(found[0], 'waybill_backlog_messages{destination="numbers",group="odd"} 3.0')
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def _scrape(url: str, until: str) -> str:
    end = time.monotonic() + 20
    while True:
        with urllib.request.urlopen(url, timeout=10) as answer:
            text: str = answer.read().decode()
        if until in text:
            return text
        assert time.monotonic() < end, text
        time.sleep(0.05)


async def _publish(folder: Path) -> None:
    app = App(
        "odd", settings=Settings(url=f"sqlite:///{folder}/bus.db"), topics=[Topic("numbers", int, groups=["odd"])]
    )
    async with app.running(consume=False):
        await app.publish_many(Topic("numbers", int, groups=["odd"]), range(3))
