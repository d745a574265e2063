"""V. What is counted and looked at is what has happened."""

from __future__ import annotations

from functools import partial

from waybill import App
from waybill.telemetry.exporting import Exporter
from waybill.telemetry.metrics import Metrics
from waybill.telemetry.tally import total
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Journal, Task

HOUR = 3600.0


@behaviour("V02", seconds=2)
async def what_is_counted_is_what_has_happened(bench: Bench) -> None:
    topic, metrics = bench.topic(), Metrics()
    app = App("group", settings=bench.app().settings, instruments=[metrics])
    app, journal = bench.consumer(topic, app=app)
    does = [""] * 12 + ["fail=1"] * 6 + ["fail"] * 3 + ["reject"] * 3
    async with app.running():
        assert not _of(metrics, topic.name, "waybill.settled.messages"), "there is nothing yet"
        await bench.publish_many(app, topic, [Task(n, str(n), do) for n, do in enumerate(does)])
        await bench.until(lambda: len(set(journal.numbers())) == 18, "those that can be are handled")
        settled = partial(_of, metrics, topic.name, "waybill.settled.messages")
        await bench.until(lambda: settled(outcome="dead_lettered") == 6, "the others are dead letters")
        await bench.until(lambda: settled() == len(journal.of("started")), lambda: f"all: {_told(metrics)}")
        _agrees(metrics, topic.name, journal, published=len(does))
        assert len(await bench.dead(topic)) == 6
    if again := len(journal.of("started")) - 18 - 6 - 3 * 3 - 3:
        bench.partial(f"at times a message comes twice though nothing is wrong, and is counted twice: {again}")


def _agrees(metrics: Metrics, topic: str, journal: Journal, *, published: int) -> None:
    counted = partial(_of, metrics, topic)
    started, done, failed = (len(journal.of(what)) for what in ("started", "done", "failed"))
    truth = {
        "published": (
            total(metrics.collect(), "waybill.published.messages", destination=topic, outcome="confirmed"),
            published,
        ),
        "acked": (counted("waybill.settled.messages", outcome="acked"), done),
        "retried": (counted("waybill.settled.messages", outcome="retried"), failed - 6),
        "rejected": (counted("waybill.dead.lettered.messages", reason="rejected"), 3),
        "exhausted": (counted("waybill.dead.lettered.messages", reason="retries_exhausted"), 3),
        "dead-lettered": (counted("waybill.dead.lettered.messages"), 6),
        "delivered": (counted("waybill.delivered.messages"), started),
        "consumed": (total(metrics.collect(), "messaging.client.consumed.messages"), started),
        "processed": (total(metrics.collect(), "messaging.process.duration"), started),
        "processed in vain": (started - total(metrics.collect(), "messaging.process.duration", error_type=""), failed),
        "from end to end": (counted("waybill.end.to.end"), done),
    }
    wrong = {what: pair for what, pair in truth.items() if pair[0] != pair[1]}
    assert not wrong, f"counted, and what has happened: {wrong}"


def _of(metrics: Metrics, topic: str, name: str, **labels: str) -> float:
    return total(metrics.collect(), name, destination=topic, group="group", **labels)


def _told(metrics: Metrics) -> str:
    return str([reading for reading in metrics.collect() if reading.metric.name.startswith("waybill.settled")])


@behaviour("V04", seconds=2)
async def what_lies_before_a_group_is_told_within_what_is_in_flight(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    app, journal = bench.consumer(topic, concurrency=4, window=8)
    exporter = Exporter(keep=HOUR, objective=HOUR)

    async def backlog() -> float:
        async with bench.app("operator").admin() as admin:
            await exporter.look(admin, [bench.subscription(topic)])
        return total(exporter.collect(), "waybill.backlog.messages", destination=topic.name, group="group")

    await bench.publish(topic, *(Task(n, str(n), "wait") for n in range(30)))
    await bench.eventually(backlog, lambda found: found == 30, "all of them lie there")
    async with app.running():
        await bench.until(lambda: journal.running == 4, "handlers are at work")
        await bench.eventually(backlog, lambda found: 22 <= found <= 30, "as many, but for those in flight")
        bench.open_gate()
        await bench.until(lambda: len(set(journal.numbers())) == 30, "all are handled")
        await bench.eventually(backlog, lambda found: found == 0, "none is left")
    approximate = total(exporter.collect(), "waybill.backlog.approximate")
    said = (await bench.backlog(topic)).ready.exactness.value
    assert said == ("approximate" if approximate else "exact"), f"it is {said}, and told as {approximate}"
    if approximate:
        bench.partial("at rest the figure is right; while messages move it is the broker's estimate, and told as one")
