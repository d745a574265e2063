"""M. Capabilities: what a broker cannot is refused, what it can is so."""

from __future__ import annotations

from collections.abc import Callable

from waybill import App, CapabilityError, Retry
from waybill.adapter import Capabilities
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Task


async def _nothing(_: Task) -> None: ...


@behaviour("X02", seconds=3)
async def what_the_broker_cannot_is_refused_on_every_path_and_what_it_can_is_not(bench: Bench) -> None:
    asked: dict[str, tuple[Callable[[Capabilities], bool], Callable[[App], object]]] = {
        "order": (lambda can: can.ordered, lambda app: app.consume(bench.topic(), ordered=True)),
        "relaxing": (
            lambda can: can.ordered and can.relaxes,
            lambda app: app.consume(bench.topic(), ordered=True, on_failure="relax"),
        ),
        "a blocked partition": (
            lambda can: can.ordered and can.blocks_partition,
            lambda app: app.consume(bench.topic(), ordered=True, on_failure="block-partition"),
        ),
        "an ephemeral group": (lambda can: can.ephemeral, lambda app: app.consume(bench.topic(), ephemeral=True)),
        "history": (
            lambda can: can.history,
            lambda app: app.consume(bench.topic("kept", retention=60), start="earliest"),
        ),
        "a limited length": (lambda can: can.limits_length, lambda app: app.consume(bench.topic("few", max_length=9))),
    }
    for need, (can, register) in asked.items():
        app = bench.app()
        register(app)(_nothing)  # type: ignore[operator]
        refused = ""
        try:
            app.explain()
            async with app.running():
                pass
        except CapabilityError as error:
            refused = str(error)
        assert bool(refused) != can(bench.can), f"{need}: {refused or 'not refused'}"
    if bench.can.blocks_partition:
        await _partition_waits(bench)


async def _partition_waits(bench: Bench) -> None:
    """Behind a failed message nothing of its partition is handled, of whatever key."""
    topic = bench.topic("blocked")
    app, journal = bench.consumer(
        topic, ordered=True, on_failure="block-partition", retry=Retry.fixed(3, delay=1.0), concurrency=4
    )
    async with app.running():
        await bench.publish(topic, *(Task(n, "one", "fail=1" if n == 0 else "") for n in range(3)), app=app)
        await bench.publish(topic, *(Task(n, f"key-{n}") for n in range(10, 40)), app=app)
        await bench.until(lambda: len(journal.of("done")) == 33)
    failed = journal.of("failed")[0].at
    again = next(step.at for step in journal.of("done") if step.number == 0)
    between = {step.key for step in journal.of("started") if failed < step.at < again}
    waited = {f"key-{n}" for n in range(10, 40)} - between
    assert waited, "keys of the same partition were handled while its failed message waited"
