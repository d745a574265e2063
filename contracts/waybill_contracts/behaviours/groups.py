"""G. Groups and topics: every group gets every message, and its members share them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from waybill import Confirmed, TopicPattern
from waybill.topology import Topology
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Journal, Task, key_of


@behaviour("G01", seconds=1)
async def members_of_a_group_share_its_messages_and_none_goes_to_two(bench: Bench) -> None:
    topic = bench.topic()
    first, one = bench.consumer(topic, concurrency=4)
    second, two = bench.consumer(topic, concurrency=4)
    async with bench.running(first, second):
        await bench.publish_many(first, topic, [Task(n, str(n % 40), "sleep=0.01") for n in range(200)])
        await bench.until(lambda: len({*one.numbers(), *two.numbers()}) == 200, "all are handled by one or the other")
        await bench.never(lambda: len(one.steps) + len(two.steps) > 420, "more is handled than was published")
    assert one.numbers(), "the first member got none"
    assert two.numbers(), "the second member got none"
    bench.once(one.numbers("started") + two.numbers("started"))


@behaviour("G02", seconds=1)
async def each_group_gets_every_message(bench: Bench) -> None:
    topic = bench.topic()
    billing, bills = bench.consumer(topic, "billing")
    shipping, parcels = bench.consumer(topic, "shipping")
    async with bench.running(billing, shipping):
        await bench.publish_many(billing, topic, [Task(n, str(n)) for n in range(50)])
        await bench.until(lambda: len(set(bills.numbers())) == 50, "one group has all")
        await bench.until(lambda: len(set(parcels.numbers())) == 50, "the other group has all")
    bench.once(bills.numbers())
    bench.once(parcels.numbers())


@behaviour("G03", seconds=1)
async def what_is_published_to_one_topic_is_not_seen_on_another(bench: Bench) -> None:
    left, right = bench.topic("left"), bench.topic("right")
    one, ones = bench.consumer(left)
    two, twos = bench.consumer(right)
    async with bench.running(one, two):
        await bench.publish_many(one, left, [Task(n, str(n)) for n in range(30)])
        await bench.publish_many(one, right, [Task(n, str(n)) for n in range(100, 130)])
        await bench.until(lambda: len({*ones.numbers(), *twos.numbers()}) == 60, "all are handled")
        await bench.never(lambda: len(ones.of("done") + twos.of("done")) > 63, "they go on coming", during=0.2)
    assert set(ones.numbers()) == set(range(30)), "the consumer of one topic handled what went to the other"
    assert set(twos.numbers()) == set(range(100, 130)), "the consumer of one topic handled what went to the other"


@behaviour("G04", seconds=1)
async def one_consumer_of_two_topics_gets_both_and_knows_which(bench: Bench) -> None:
    placed, refunded = bench.topic("placed"), bench.topic("refunded")
    app, journal = bench.consumer([placed, refunded])
    async with app.running():
        await bench.publish_many(app, placed, [Task(n, str(n)) for n in range(20)])
        await bench.publish_many(app, refunded, [Task(n, str(n)) for n in range(100, 120)])
        await bench.until(lambda: len(set(journal.numbers())) == 40, "the messages of both topics are handled")
    came = {(step.topic, step.number >= 100) for step in journal.steps}
    assert came == {(placed.name, False), (refunded.name, True)}, f"deliveries name their topics wrongly: {came}"


@behaviour("G05", seconds=1)
async def what_is_published_between_a_groups_declaration_and_its_first_consumer_is_received(bench: Bench) -> None:
    named = bench.topic("named", groups=["group"])
    declared = bench.topic("declared")
    app, journal = bench.consumer([named, declared])
    await bench.publish(
        named, *(Task(n, str(n)) for n in range(10))
    )  # the contract names the group: its publisher makes it
    await bench.declare(app)
    await bench.publish(declared, *(Task(n, str(n)) for n in range(10, 20)))
    async with app.running():
        await bench.until(
            lambda: sorted(set(journal.numbers())) == list(range(20)), "what came before its first consumer is handled"
        )


@behaviour("G06", needs=("ephemeral",), seconds=2)
async def an_ephemeral_group_gets_what_comes_while_it_is_there_and_leaves_nothing(bench: Bench) -> None:
    topic = bench.topic(groups=["lasting"])
    first, ones = bench.consumer(topic, "screen", ephemeral=True)
    second, twos = bench.consumer(topic, "screen", ephemeral=True)
    await bench.publish(topic, Task(1, "a"))
    async with bench.running(first, second):
        group = first.health().parts[0].name.removeprefix(f"{topic.name}/")
        await bench.publish(topic, Task(2, "a"))
        await bench.until(lambda: ones.of("done") and twos.of("done"), "each process has a group of its own")
    await bench.publish(topic, Task(3, "a"))
    again, later = bench.consumer(topic, "screen", ephemeral=True)
    async with again.running():
        await bench.publish(topic, Task(4, "a"))
        await bench.until(lambda: 4 in later.numbers(), "it gets what comes")
        await bench.never(lambda: len(later.of("done")) > 1, "it gets what came while it was away", during=0.3)
    assert {*ones.numbers(), *twos.numbers()} == {2}, "it gets what came before it was there"
    gone = Topology((topic.spec,), (bench.subscription(topic, group),))
    async with bench.app("operator").admin() as admin:
        await bench.eventually(lambda: admin.plan(gone), lambda plan: plan.changes, f"the group {group} is gone")


@behaviour("G07", seconds=1)
async def a_new_group_that_starts_with_the_latest_gets_only_what_comes(bench: Bench) -> None:
    topic = bench.topic(groups=["first"])
    await bench.publish(topic, *(Task(n, str(n)) for n in range(5)))
    app, journal = bench.consumer(topic, "second", start="latest")
    async with app.running():
        await bench.publish(topic, *(Task(n, str(n)) for n in range(5, 10)))
        await bench.until(lambda: set(range(5, 10)) <= set(journal.numbers()), "it gets what comes")
        await bench.never(lambda: min(journal.numbers()) < 5, "it gets what came before it", during=0.3)


@behaviour("G08", needs=("history",), seconds=1)
async def a_new_group_that_starts_with_the_earliest_gets_what_the_topic_has_kept(bench: Bench) -> None:
    topic = bench.topic(retention=3600)
    first, handled = bench.consumer(topic, "first")
    second, history = bench.consumer(topic, "second", start="earliest")
    async with first.running():
        await bench.publish(topic, *(Task(n, str(n)) for n in range(5)), app=first)
        await bench.until(lambda: len(set(handled.numbers())) == 5, "the first group handles them")
    async with second.running():
        await bench.publish(topic, Task(5, "5"), app=second)
        await bench.until(lambda: 5 in history.numbers(), "it gets what comes")
        await bench.until(
            lambda: sorted(set(history.numbers())) == list(range(6)), "it gets what others have handled before"
        )


@behaviour("G09", seconds=10)
async def fifty_members_of_a_group_handle_five_thousand_messages_and_lose_none(bench: Bench) -> None:
    topic, journal = bench.topic(), Journal(bench.gate)
    apps = [bench.consumer(topic, journal=journal, concurrency=4)[0] for _ in range(50)]
    async with AsyncExitStack() as stack:
        for app in apps:
            await stack.enter_async_context(app.running())
        results = await apps[0].publish_many(topic, [Task(n, str(n % 500)) for n in range(5000)], deadline=60)
        assert all(isinstance(result, Confirmed) for result in results), "not all were confirmed"
        within = 4 * bench.patience
        await bench.until(lambda: len(set(journal.numbers())) == 5000, "all are handled", within=within)
    bench.once(journal.numbers())


@behaviour("G10", seconds=10)
async def twenty_topics_are_published_to_and_consumed_at_once_and_each_is_complete(bench: Bench) -> None:
    topics = [bench.topic(f"topic-{number}") for number in range(20)]
    app, journal = bench.consumer(topics, concurrency=20)
    async with app.running():
        lots = [[Task(100 * place + n, str(n)) for n in range(100)] for place in range(20)]
        await asyncio.gather(*(bench.publish_many(app, topic, lot) for topic, lot in zip(topics, lots, strict=True)))
        await bench.until(lambda: len(set(journal.numbers())) == 2000, "all are handled", within=2 * bench.patience)
    bench.once(journal.numbers())
    for place, topic in enumerate(topics):
        came = {step.number for step in journal.of("done") if step.topic == topic.name}
        assert came == set(range(100 * place, 100 * place + 100)), f"{topic.name} has not got its own messages"


@behaviour("G11", seconds=2)
async def what_a_consumer_had_not_handled_when_it_ended_is_there_when_it_comes_back(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, concurrency=4)
    async with app.running():
        await bench.publish_many(app, topic, [Task(n, str(n), "sleep=0.02") for n in range(60)])
        await bench.until(lambda: len(journal.of("done")) >= 30, "half of them are handled")
    assert len(journal.of("done")) < 60, "it handled all before it ended"
    async with app.running():
        await bench.until(lambda: set(journal.numbers()) == set(range(60)), "the rest is handled, and none is lost")
    again = len(journal.of("done")) - 60
    assert again <= 4, f"{again} came again, more than the 4 that were being handled at the end"


@behaviour("G12", seconds=2)
async def members_join_and_leave_under_load_and_nothing_is_lost(bench: Bench) -> None:
    topic, journal = bench.topic(), Journal(bench.gate)
    staying, _ = bench.consumer(topic, journal=journal, concurrency=2)
    async with staying.running():
        await bench.publish_many(staying, topic, [Task(n, str(n % 50), "sleep=0.02") for n in range(240)])
        for turn in range(3):
            moving, _ = bench.consumer(topic, journal=journal, concurrency=4)
            async with moving.running():
                await bench.until(lambda turn=turn: len(journal.of("done")) >= 50 * (turn + 1))  # type: ignore[misc]
        await bench.until(lambda: set(journal.numbers()) == set(range(240)), "all are handled, and none is lost")
        await bench.never(lambda: len(journal.of("started")) > 252, "more come again than 4 of each that left")


@behaviour("G13", seconds=2)
async def ending_or_pausing_one_subscription_leaves_the_others_receiving(bench: Bench) -> None:
    topic, other = bench.topic(), bench.topic("other")
    ending, _ = bench.consumer(topic, "ending")
    app, journal = bench.consumer(topic, "staying")
    stopped: list[int] = []

    @app.consume(other, group="paused")
    async def handle(task: Task) -> None:
        stopped.append(task.number)

    async with app.running():
        async with ending.running():
            await bench.publish(topic, Task(1, "a"), app=app)
            await bench.until(lambda: journal.numbers() == [1])
        app.consumer(other, group="paused").pause()
        for number in range(2, 12):
            await bench.publish(topic, Task(number, str(number)), app=app)
            await bench.publish(other, Task(number, str(number)), app=app)
        await bench.until(lambda: len(set(journal.numbers())) == 11, "the one that stays goes on")
        assert not stopped, "the one that is paused goes on"
        app.consumer(other, group="paused").resume()
        await bench.until(lambda: len(set(stopped)) == 10, "the one that was paused goes on")


@behaviour("G14", needs=("patterns",), seconds=2)
async def a_pattern_gets_the_messages_of_a_topic_that_is_created_later(bench: Bench) -> None:
    pattern = TopicPattern(bench.name("orders.*"), Task, key=key_of)
    app, journal = bench.consumer(pattern, "audit")
    placed, shipped, stock = bench.topic("orders.placed"), bench.topic("orders.shipped"), bench.topic("stock.moved")
    keeper, kept = bench.consumer(stock, "keeper")
    async with bench.running(app, keeper):
        await bench.publish(placed, Task(1, "a"))
        await bench.until(lambda: journal.numbers() == [1], "it gets a topic that fits")
        await bench.publish(shipped, Task(2, "a"))
        await bench.until(lambda: 2 in journal.numbers(), "it gets a topic that is created later")
        await bench.publish(stock, Task(3, "a"))
        await bench.until(lambda: kept.numbers() == [3])
        await bench.never(lambda: 3 in journal.numbers(), "it gets a topic that does not fit", during=0.3)
    assert {(step.number, step.topic) for step in journal.steps} == {(1, placed.name), (2, shipped.name)}


@behaviour("G15", seconds=2)
async def what_a_header_filter_leaves_out_is_not_handled_and_leaves_nothing_behind(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, where={"region": ["eu", "uk"]})
    async with app.running():
        for number in range(24):
            headers = {"region": ("eu", "us", "uk", "jp")[number % 4]} if number != 8 else None
            await bench.publish(topic, Task(number, str(number)), app=app, headers=headers)
        fits = [number for number in range(24) if number % 2 == 0 and number != 8]
        await bench.until(lambda: set(fits) <= set(journal.numbers()), "what fits is handled")
        await bench.eventually(
            lambda: bench.backlog(topic),
            lambda b: not (b.ready.value or b.in_flight.value or b.delayed.value or b.dead.value),
            "what does not fit leaves no backlog",
        )
    assert sorted(set(journal.numbers("started"))) == fits, "what does not fit was handled"
