"""T. Topology: what is declared, what is only looked at, and what is left alone."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from waybill import (
    App,
    BrokerError,
    CapabilityError,
    ConfigurationError,
    DestinationMissing,
    Health,
    PublishRefused,
    PublishUnknown,
    Topic,
    TopologyMismatch,
)
from waybill.topology import Change
from waybill_contracts.behaviour import behaviour
from waybill_contracts.behaviours.publishing import failure
from waybill_contracts.bench import FAST, Bench
from waybill_contracts.tasks import Task, nothing, numbers_of


async def planned(app: App) -> list[Change]:
    """What is missing or differs."""
    async with app.admin() as admin:
        return list((await admin.plan(app.topology)).changes)


async def started(app: App, *, within: float = 60.0) -> Health:
    """Start it and stop it; how it was meanwhile. Raises what starting raises."""
    try:
        async with asyncio.timeout(within), app.running():
            return app.health()
    except TimeoutError:
        raise AssertionError(f"it has not started within {within:g} s, and nothing is said") from None


async def mismatch(app: App, why: str) -> str:
    """What is said where it does not start."""
    try:
        await started(app)
    except TopologyMismatch as error:
        return str(error)
    raise AssertionError(f"{why}, and it started")


@behaviour("T01", seconds=1)
async def declaring_twice_is_the_same_as_once(bench: Bench) -> None:
    topic = bench.topic(groups=["group", "other"])
    app, given = bench.receiver(topic)
    for number in range(3):
        await bench.declare(app)
        left = await planned(app)
        assert not left, f"it was declared, and this is left: {left!r}"
        await bench.publish(topic, Task(number))
    async with app.running():
        await bench.until(lambda: len(given) >= 3, "what was published before and between arrives")
    assert sorted(numbers_of(given)) == [0, 1, 2]


@behaviour("T02", seconds=1)
async def who_only_verifies_is_told_each_thing_that_is_missing(bench: Bench) -> None:
    topic, second = bench.topic(groups=["group", "other"]), bench.topic("second")
    app = bench.app(topology="verify")
    for each in (topic, second):
        app.consume(each)(nothing)
    things = [topic.name, f"{topic.name}/group", f"{topic.name}/other", second.name, f"{second.name}/group"]
    said = await mismatch(app, "nothing of it exists")
    unnamed = [thing for thing in things if f" {thing}" not in f" {said}".replace(";", " ")]
    assert not unnamed, f"it does not name {unnamed}: {said}"
    assert len(await planned(app)) >= len(things), "verifying has created something"
    await bench.declare(app)
    assert (await started(app)).ok
    other = bench.app("new", topology="verify")
    other.consume(topic)(nothing)
    said = await mismatch(other, "its group does not exist")
    assert f"{topic.name}/new" in said, f"it does not name the group: {said}"
    assert f"{topic.name}/group" not in said, f"it names what is there: {said}"


@behaviour("T03", seconds=1)
async def who_assumes_what_is_missing_is_told_at_its_first_use(bench: Bench) -> None:
    topic = bench.topic()
    async with bench.app("publisher", topology="assume").running(consume=False) as publisher:
        try:
            error = await failure(publisher.publish(topic, Task(1), deadline=5.0), "there is no such topic")
        except DestinationMissing:
            pass
        else:
            assert isinstance(error, PublishRefused), f"it is certain that nobody has it: {error!r}"
    assuming = bench.app(topology="assume")
    assuming.consume(topic)(nothing)
    said = ""
    try:
        health = await started(assuming, within=bench.patience)
        assert not health.ok, "there is nothing to consume, and it is well"
    except DestinationMissing as missing:
        said = str(missing)
    assert not said or topic.name in said, f"it does not name what is missing: {said}"
    async with bench.app("operator").admin() as admin:
        changes = (await admin.plan(assuming.topology)).changes
        assert len(changes) >= 2, f"assuming has created something: only this is missing: {changes!r}"


@behaviour("T04", seconds=2)
async def what_differs_is_an_error_that_says_how_and_nothing_is_changed(bench: Bench) -> None:
    promised: dict[str, tuple[bool, float, float]] = {
        "retention": (bench.can.history, 3600, 60),
        "max_length": (bench.can.limits_length, 1000, 10),
        "dedup_window": (bench.can.dedup_window is None or bench.can.dedup_window >= 60, 60, 30),
    }
    shown = 0
    for what, (can, there, wanted) in promised.items():
        if not can:
            continue
        shown += 1
        name = what.replace("_", "-")
        before, _ = bench.receiver(bench.topic(name, **{what: there}))
        after, _ = bench.receiver(bench.topic(name, **{what: wanted}))
        await bench.declare(before)
        for _ in range(2):  # the first has not changed it either
            said = await mismatch(after, f"its {what} is not the one that is there")
            assert bench.name(name) in said, f"it does not name the topic: {said}"
            assert what in said, f"it does not name what differs: {said}"
        await bench.declare(after)  # nobody has allowed it by name
        assert [change.action for change in await planned(after)] == ["differs"], "less is promised, unasked"
        assert not await planned(before), f"its {what} has changed"
    if not shown:
        bench.partial("its topics promise nothing that could differ")


@behaviour("T05", verbs=("processes",), seconds=12)
async def ten_processes_may_declare_at_once(bench: Bench) -> None:
    topic = bench.topic()
    workers = await asyncio.gather(*(bench.worker(topic) for _ in range(10)))
    await bench.publish(topic, *(Task(number, f"key-{number}") for number in range(30)))

    def done() -> list[int]:
        return [number for worker in workers for number in worker.journal().numbers()]

    await bench.until(lambda: len(set(done())) == 30, "they consume")
    assert all(worker.alive for worker in workers), "one has died"
    bench.once(done())


@behaviour("T06", seconds=1)
async def a_plan_lists_the_changes_and_makes_none(bench: Bench) -> None:
    topic = bench.topic(groups=["group", "other"])
    app, _ = bench.receiver(topic)
    first = await planned(app)
    named = {change.what for change in first if change.action == "create"}
    for thing in (topic.name, f"{topic.name}/group", f"{topic.name}/other"):
        assert any(what.split()[-1] == thing for what in named), f"{thing} is missing, and the plan has {named}"
    assert await planned(app) == first, "planning it has changed something"
    async with bench.app("assuming", topology="assume").running(consume=False) as assuming:
        with suppress(DestinationMissing):
            await failure(assuming.publish(topic, Task(1)), "it was only planned")
    await bench.declare(app)
    assert not await planned(app), "it was declared"


@behaviour("T07", verbs=("permissions",), seconds=3)
async def who_may_declare_nothing_can_publish_and_consume(bench: Bench) -> None:
    topic, missing = bench.topic(groups=["group"]), bench.topic("missing")
    declared, _ = bench.receiver(topic)
    await bench.declare(declared)
    for number, mode in enumerate(("verify", "assume")):
        app, given = bench.receiver(topic, url=bench.broker.permissions, topology=mode)
        async with app.running():
            await app.publish(topic, Task(number))
            await bench.until(given.__len__, "it publishes and consumes")
    app, _ = bench.receiver(missing, url=bench.broker.permissions)
    said = ""
    try:
        await started(app)
    except (BrokerError, TopologyMismatch) as error:
        said = str(error)
    assert missing.name in said, f"it may declare nothing, and of the topic that it needs it says {said!r}"


@behaviour("T08", seconds=15)
async def names_that_look_alike_are_told_apart(bench: Bench) -> None:
    longest = bench.name("x" * (128 - len(bench.name(""))))
    names = [longest[:-1] + "a", longest[:-1] + "b", longest[:100]]
    names += [bench.name(name) for name in ("a.b", "a-b", "a_b", "A.b", "a.b.c", "a.group", "a.group.dead", "a.fifo")]
    pairs = [*((name, "group") for name in names), (bench.name("a"), "group"), (bench.name("a"), "b.c")]
    found: dict[tuple[str, str], list[Any]] = {}
    apps: list[App] = []
    topics: dict[str, Topic[str]] = {name: Topic(name, str) for name, _ in pairs}
    for name, group in pairs:
        app, given = bench.receiver(topics[name], group)
        try:
            await started(app)
        except (CapabilityError, TopologyMismatch):
            continue
        apps.append(app)
        found[name, group] = given
    assert found, "it takes no name"
    async with bench.running(*apps):
        for name in dict.fromkeys(name for name, _ in found):
            await bench.publish(topics[name], f"to {name}")
        await bench.until(lambda: all(found.values()), "each gets its own, and no name is taken for another")
        await bench.never(lambda: any(len(given) > 1 for given in found.values()), "one gets another's")
    wrong = {place: [d.value for d in given] for place, given in found.items() if given[0].value != f"to {place[0]}"}
    assert not wrong, f"one gets another's: {wrong}"
    for name in ("", "a b", "ä", ".a", "a.", "a..b", "a/b", "x" * 129):
        try:
            Topic(name, str)
        except ConfigurationError:
            continue
        raise AssertionError(f"the name {name!r} cannot be carried by every broker, and was taken")


@behaviour("T09", verbs=("partitions",), seconds=3)
async def there_are_never_less_partitions_and_more_of_them_is_said_to_move_keys(bench: Bench) -> None:
    option = bench.broker.partitions
    assert option is not None
    topic = bench.topic(groups=["group"])

    def app(partitions: int) -> App:
        made, _ = bench.receiver(topic.on(option(partitions)))
        return made

    await bench.declare(app(4))
    said = await mismatch(app(8), "there are 4 partitions, and 8 are asked for")
    assert "key" in said, f"it does not say that keys move: {said}"
    for wanted in (2, 8):
        await bench.declare(app(wanted))
        assert not await planned(app(4)), f"nobody has allowed {wanted} partitions by name"
    await _allowed(app(8))
    assert not await planned(app(8)), "8 partitions were allowed by name"
    with suppress(BrokerError, ConfigurationError):  # as it should be said
        await _allowed(app(2))
    assert not await planned(app(8)), "there are less partitions, and what they held is gone"


async def _allowed(app: App) -> None:
    async with app.admin() as admin:
        plan = await admin.plan(app.topology)
        await admin.apply(plan, allow=[change.what for change in plan.changes])


@behaviour("T10", needs=("ephemeral",), seconds=2)
async def what_goes_with_its_process_goes_whole_and_takes_nothing_else_with_it(bench: Bench) -> None:
    alone, shared = bench.topic("alone"), bench.topic("shared", groups=["group", "group.b"])
    passing, given = bench.receiver(alone, ephemeral=True)
    passing.consume(shared, ephemeral=True)(nothing)
    lasting = bench.app()
    lasting.consume(shared, retry=FAST)(_fails)
    async with bench.app("publisher").running(consume=False) as publisher:
        async with lasting.running():
            await publisher.publish(shared, Task(1))
            await bench.eventually(lambda: bench.dead(shared), bool, "there is a dead letter")
        async with passing.running():
            await publisher.publish(alone, Task(1))
            await publisher.publish(shared, Task(2))
            await bench.until(lambda: given, "it gets what is published meanwhile")

        async def nobody() -> bool:
            try:
                await publisher.publish(alone, Task(2))
            except PublishRefused:
                return True
            except PublishUnknown:
                pass  # it is just going
            return False

        await bench.eventually(nobody, bool, "nothing is left of a group that went with its process")
        await publisher.publish(shared, Task(3))

    async def left() -> dict[str, tuple[float, int]]:
        return {group: await _left(bench, shared, group) for group in ("group", "group.b")}

    await bench.eventually(
        left, lambda found: found == {"group": (2, 1), "group.b": (3, 0)}, "what others have to handle, and their dead"
    )


async def _left(bench: Bench, topic: Topic[Task], group: str) -> tuple[float, int]:
    backlog = await bench.backlog(topic, group)
    return (backlog.ready.value or 0) + (backlog.in_flight.value or 0), len(await bench.dead(topic, group))


async def _fails(_: Task) -> None:
    raise ValueError("as told")
