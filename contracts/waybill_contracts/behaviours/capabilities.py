"""X. Capabilities: what a broker cannot is refused, what it can is so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

from waybill import App, CapabilityError, PublishRefused, Retry, Stretch, TopicPattern
from waybill.adapter import Capabilities
from waybill.outcomes import DeadLetter, Defer
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Task, nothing, numbered, numbers_of

Need = tuple[Callable[[Capabilities], bool], Callable[[App], Any]]
"""Whether a broker can, and how an application asks for it."""


def _remembers(can: Capabilities) -> bool:
    return can.dedup_window is None or can.dedup_window >= 60


def _needs(bench: Bench) -> dict[str, Need]:
    """All that an application can ask for and a broker may lack, each on a topic of its own."""
    kept = bench.topic("kept", retention=60)
    pattern = TopicPattern(bench.name("any.*"), Task)
    return {
        "order": (lambda can: can.ordered, lambda app: app.consume(bench.topic("order"), ordered=True)),
        "relaxing": (
            lambda can: can.ordered and can.relaxes,
            lambda app: app.consume(bench.topic("relax"), ordered=True, on_failure="relax"),
        ),
        "a blocked partition": (
            lambda can: can.ordered and can.blocks_partition,
            lambda app: app.consume(bench.topic("block"), ordered=True, on_failure="block-partition"),
        ),
        "an ephemeral group": (lambda can: can.ephemeral, lambda app: app.consume(bench.topic("go"), ephemeral=True)),
        "history": (lambda can: can.history, lambda app: app.consume(kept, start="earliest")),
        "a limited length": (lambda can: can.limits_length, lambda app: app.consume(bench.topic("few", max_length=9))),
        "patterns": (lambda can: can.patterns, lambda app: app.consume(pattern)),
        "ids": (_remembers, lambda app: app.consume(bench.topic("ids", dedup_window=60))),
    }


@behaviour("X01", seconds=1)
async def what_the_broker_cannot_is_refused_before_anything_starts_and_all_at_once(bench: Bench) -> None:
    app, asked = bench.app(), list[str]()
    for can, register in _needs(bench).values():
        if not can(bench.can):
            register(app)(nothing)
            asked.append(app.registrations[-1].topic.name)
    if not asked:
        bench.partial("it can all that an application can ask for, so nothing was refused")
        return
    said = [_refusal(app.explain)]
    said.append(await _refused_at_start(app))
    if bench.broker.away is not None:
        async with bench.broker.away():
            said.append(await _refused_at_start(app))
    for text in said:
        unnamed = [name for name in asked if name not in text]
        assert not unnamed, f"it does not name {unnamed}: {text!r}"
        assert bench.can.broker, "it has no name"
        assert bench.can.broker in text, f"it does not name {bench.can.broker}: {text!r}"
        assert any(word in text for word in ("use ", "drop ", "give ", "by name")), (
            f"it does not say what to do: {text!r}"
        )


def _refusal(ask: Callable[[], object]) -> str:
    try:
        ask()
    except CapabilityError as error:
        return str(error)
    raise AssertionError("it cannot do what is asked for, and says nothing")


async def _refused_at_start(app: App) -> str:
    try:
        async with app.running():
            pass
    except CapabilityError as error:
        return str(error)
    raise AssertionError("it cannot do what is asked for, and has started")


@behaviour("X02", seconds=3)
async def what_the_broker_cannot_is_refused_on_every_path_and_what_it_can_is_not(bench: Bench) -> None:
    for need, (can, register) in _needs(bench).items():
        app = bench.app()
        register(app)(nothing)
        refused = ""
        try:
            app.explain()
            async with app.running():
                pass
        except CapabilityError as error:
            refused = str(error)
        assert bool(refused) != can(bench.can), f"{need}: {refused or 'not refused'}"
    await _a_delay_is_refused_or_taken(bench)
    if bench.can.blocks_partition:
        await _partition_waits(bench)


async def _a_delay_is_refused_or_taken(bench: Bench) -> None:
    """It is asked for with each message, so it is refused when it is."""
    topic, refused = bench.topic("later", groups=["group"]), ""
    try:
        await bench.publish(topic, Task(1), delay=0.1)
    except CapabilityError as error:
        refused = str(error)
    assert bool(refused) != bench.can.delays, f"a delay: {refused or 'not refused'}"


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


@behaviour("X03", seconds=1)
async def where_it_is_weaker_it_says_so_and_where_it_does_not_it_is_not(bench: Bench) -> None:
    topic = bench.topic()
    app, given = bench.receiver(topic, where={"region": "eu"})
    facts = dict(app.explain()[0].facts)
    weaker: dict[str, tuple[bool, str]] = {
        "a restart of the broker": (not bench.can.durable, "LOST"),
        "only messages": (not bench.can.filters, "passed over here"),
        "waiting for a retry": (Defer not in bench.native or bench.can.longest_defer is not None, "emulated"),
        "becoming a dead letter": (DeadLetter not in bench.native, "emulated"),
    }
    for about, (is_so, word) in weaker.items():
        said = facts.get(about, "")
        assert (word in said) == is_so, f"{about}: it {'is' if is_so else 'is not'} weaker, and explain says {said!r}"
    with _logged() as lines:
        async with app.running():
            for number, region in enumerate(("eu", "us", "eu")):
                await app.publish(topic, Task(number), headers={"region": region})
            await bench.until(lambda: {0, 2} <= set(numbers_of(given)), "those that fit arrive")
            await bench.never(lambda: 1 in numbers_of(given), "one that does not fit is handled")
            shown = app.health().parts[0].weaker
    for about, (is_so, word) in weaker.items():
        logged = any(about in line and word in line for line in lines)
        assert logged == is_so, f"{about}: it {'is' if is_so else 'is not'} weaker, and the log at start says {lines}"
        assert (word in shown.get(about, "")) == is_so, f"{about}: {is_so}, and health says {shown}"


@contextmanager
def _logged() -> Generator[list[str], None, None]:
    """What Waybill logs meanwhile."""
    lines: list[str] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler = Noting()
    logger = logging.getLogger("waybill")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


@behaviour("X04", seconds=5)
async def what_is_declared_is_what_is_seen(bench: Bench) -> None:
    can = bench.can
    probes: dict[str, tuple[bool, Callable[[Bench], Awaitable[bool]]]] = {
        "ordered": (can.ordered, _keeps_order),
        "relaxes": (can.ordered and can.relaxes, _relaxes),
        "patterns": (can.patterns, _finds_later_topics),
        "ephemeral": (can.ephemeral, _comes_and_goes),
        "history": (can.history, _keeps_history),
        "replays": (can.replays, _reads_its_past),
        "limits_length": (can.limits_length, _refuses_when_full),
        "dedup_window": (_remembers(can), _remembers_ids),
        "delays": (can.delays, _delays),
    }
    seen: dict[str, bool] = {}
    for flag, (_, probe) in probes.items():
        try:
            seen[flag] = await probe(bench)
        except CapabilityError:
            seen[flag] = False
    declared = {flag: is_so for flag, (is_so, _) in probes.items()}
    wrong = {flag: f"declared {declared[flag]}, seen {seen[flag]}" for flag in probes if declared[flag] != seen[flag]}
    assert not wrong, f"what it declares is not what it does: {wrong}"
    if can.durable and bench.broker.restart is None:
        bench.partial("durability was not looked at: the harness cannot restart it")


async def _keeps_order(bench: Bench) -> bool:
    return await _handled_with_a_failure(bench, "in-order", on_failure="block-key") == [0, 1, 2]


async def _relaxes(bench: Bench) -> bool:
    return sorted(await _handled_with_a_failure(bench, "relaxed", on_failure="relax")) == [0, 1, 2]


async def _handled_with_a_failure(bench: Bench, name: str, **options: Any) -> list[int]:
    topic = bench.topic(name)
    app, journal = bench.consumer(topic, ordered=True, **options)
    async with app.running():
        await bench.publish(topic, *(Task(number, "key", "" if number else "fail=1") for number in range(3)), app=app)
        await bench.until(lambda: len(set(journal.numbers())) == 3, f"{name}: all are handled")
    return journal.numbers()


async def _finds_later_topics(bench: Bench) -> bool:
    app, given = bench.receiver(TopicPattern(bench.name("later.*"), Task))
    async with app.running():
        await bench.publish(bench.topic("later.one"), Task(1))
        return await _comes(bench, lambda: bool(given))


async def _comes_and_goes(bench: Bench) -> bool:
    topic = bench.topic("passing")
    first, one = bench.receiver(topic, ephemeral=True)
    second, other = bench.receiver(topic, ephemeral=True)
    async with bench.running(first, second):
        await bench.publish(topic, Task(1))
        return await _comes(bench, lambda: bool(one and other))


async def _keeps_history(bench: Bench) -> bool:
    topic = bench.topic("history", retention=60)
    first, given = bench.receiver(topic)
    async with first.running():
        await bench.publish(topic, Task(1))
        await bench.until(lambda: given, "it arrives at the group that is there")
    late, found = bench.receiver(topic, "late", start="earliest")
    async with late.running():
        return await _comes(bench, lambda: bool(found))


async def _reads_its_past(bench: Bench) -> bool:
    topic, seen = bench.topic("past"), list[Task]()
    app, given = bench.receiver(topic)
    async with app.running():
        await bench.publish(topic, Task(1), app=app)
        await bench.until(lambda: given, "it arrives at the group that is there")

        async def note(task: Task) -> None:
            seen.append(task)

        await app.replay(topic, Stretch(), to=note)
    return seen == [Task(1)]


async def _refuses_when_full(bench: Bench) -> bool:
    topic = bench.topic("full", max_length=2)
    app, _ = bench.receiver(topic)
    async with app.running(consume=False):
        try:
            await bench.publish(topic, *(Task(number) for number in range(20)), app=app)
        except PublishRefused:
            return True
    return False


async def _remembers_ids(bench: Bench) -> bool:
    topic = bench.topic("once", id=numbered, dedup_window=60)
    app, given = bench.receiver(topic)
    async with app.running():
        await bench.publish(topic, Task(1), Task(1), Task(2), app=app)
        await bench.until(lambda: 2 in numbers_of(given), "the ids: the last arrives")
        await asyncio.sleep(0.5)  # as long as a copy is given to come
        return sorted(numbers_of(given)) == [1, 2]


async def _delays(bench: Bench) -> bool:
    topic = bench.topic("delayed")
    app, given = bench.receiver(topic)
    async with app.running():
        try:
            await bench.publish(topic, Task(1), app=app, delay=3.0)
        except PublishRefused:
            return False
        await bench.publish(topic, Task(2, "other"), app=app)
        await bench.until(lambda: len(given) >= 2, "the delayed one arrives")
    return numbers_of(given) == [2, 1]


async def _comes(bench: Bench, came: Callable[[], bool]) -> bool:
    try:
        await bench.until(came)
    except AssertionError:
        return False
    return True


@behaviour("X05", seconds=1)
async def connected_it_knows_its_version_and_what_that_cannot(bench: Bench) -> None:
    topic = bench.topic()
    async with bench.app().connected() as brokers:
        now = brokers.of(topic.spec).capabilities
    assert now.version, "it does not know which version it speaks to"
    assert bench.broker.version in now.version, f"it is {bench.broker.version}, and it was taken for {now.version}"
    more = [
        name
        for name in (
            "ordered",
            "durable",
            "relaxes",
            "patterns",
            "ephemeral",
            "history",
            "replays",
            "delays",
            "limits_length",
            "filters",
        )
        if getattr(now, name) and not getattr(bench.can, name)
    ]
    assert not more, f"connected it can what it had not claimed, and what asks for that was refused before: {more}"
    app, given = bench.receiver(topic)
    for can, register in _needs(bench).values():
        if can(bench.can) and not can(now):  # this version cannot
            asking = bench.app()
            register(asking)(nothing)
            await _refused_at_start(asking)
    async with app.running():
        await app.publish(topic, Task(1))
        await bench.until(lambda: given, "what it can is not in doubt")
