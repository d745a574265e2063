"""C. Faults: the broker goes away and comes back, refuses, forgets, repeats."""

from __future__ import annotations

import asyncio
import time

from waybill import App, BrokerError, Confirmed, Delivery, Handler, Refused, Status, Topic
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Journal, Task, numbered


class Publishing:
    """Publishes one task after the other, each through `app`, and knows what became of them."""

    def __init__(self, app: App, topic: Topic[Task], *, deadline: float = 20.0, do: str = "") -> None:
        self.confirmed: list[int] = []
        self.refused: list[int] = []
        self._app, self._topic, self._deadline, self._do = app, topic, deadline, do
        self._ending = asyncio.Event()
        self._task = asyncio.create_task(self._publish())

    async def _publish(self) -> None:
        number = 0
        while not self._ending.is_set():
            tasks = [Task(number, str(number), self._do)]
            (result,) = await self._app.publish_many(self._topic, tasks, deadline=self._deadline)
            if isinstance(result, Confirmed):
                self.confirmed.append(number)
            elif isinstance(result, Refused):
                self.refused.append(number)
            number += 1
            await asyncio.sleep(0.01)

    async def end(self) -> None:
        self._ending.set()
        await self._task


async def nothing_is_lost(bench: Bench, publishing: Publishing, journal: Journal) -> None:
    """Publishing goes on by itself, and what was confirmed, also meanwhile, is handled."""
    before = len(publishing.confirmed)
    await bench.until(lambda: len(publishing.confirmed) >= before + 5, "publishing goes on", within=3 * bench.patience)
    await publishing.end()
    await bench.until(
        lambda: set(publishing.confirmed) <= set(journal.numbers()),
        "all that was confirmed is handled",
        within=3 * bench.patience,
    )
    assert not set(publishing.refused) & set(journal.numbers()), "what was refused is certainly not stored"


@behaviour("C01", verbs=("restart",), needs=("durable",), seconds=20)
async def restarts_while_publishing_lose_nothing_that_was_confirmed(bench: Bench) -> None:
    topic, total, chunk = bench.topic(groups=["group"]), 2000, 100
    confirmed = set[int]()
    assert bench.broker.restart is not None
    async with bench.app("publisher").running(consume=False) as app:
        for start in range(0, total, chunk):
            tasks = [Task(n, str(n)) for n in range(start, start + chunk)]
            publishing = asyncio.create_task(app.publish_many(topic, tasks, deadline=60.0))
            if start in {total // 4, total // 2}:
                await bench.broker.restart()
            results = await publishing
            confirmed |= {
                task.number for task, result in zip(tasks, results, strict=True) if isinstance(result, Confirmed)
            }
    assert len(confirmed) >= total // 2, f"{len(confirmed)} of {total} were confirmed"
    consumer, journal = bench.consumer(topic, concurrency=50)
    async with consumer.running():
        await bench.until(lambda: confirmed <= set(journal.numbers()), "all that was confirmed is handled")


@behaviour("C02", verbs=("away",), seconds=10)
async def after_an_outage_consuming_goes_on_by_itself_and_nothing_confirmed_is_lost(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, concurrency=4)
    assert bench.broker.away is not None
    async with app.running():
        publishing = Publishing(app, topic, do="sleep=0.05")
        await bench.until(lambda: len(journal.of("done")) >= 5)
        async with bench.broker.away():
            await asyncio.sleep(7.0)  # as long as the outage lasts
        await nothing_is_lost(bench, publishing, journal)


@behaviour("C03", verbs=("cut",), seconds=5)
async def what_was_handled_over_a_cut_connection_comes_again_and_the_late_result_is_told(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, concurrency=4)
    assert bench.broker.cut is not None
    async with app.running():
        await bench.publish(topic, *(Task(n, str(n), "sleep=1") for n in range(4)), app=app)
        await bench.until(lambda: journal.running == 4, "their handlers run")
        await bench.broker.cut()
        await bench.until(lambda: set(journal.numbers()) == {0, 1, 2, 3}, "all are handled in the end")
        await bench.settled(topic)
        await bench.publish(topic, Task(9, "later"), app=app)
        await bench.until(lambda: 9 in journal.numbers(), "it goes on")
        await bench.until(lambda: app.health().status is Status.UP, "health says so")
    assert len(journal.of("started")) <= 9, "each came once more at most"
    assert not await bench.dead(topic)


@behaviour("C04", verbs=("away",), seconds=10)
async def what_gathered_behind_an_outage_is_handled_when_it_is_over(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    app, journal = bench.consumer(topic, concurrency=4, lease=3.0)
    await bench.publish(topic, *(Task(n, str(n), "sleep=0.05") for n in range(10_000, 10_060)))
    assert bench.broker.away is not None
    async with bench.app("publisher").running(consume=False) as publisher, app.running():
        publishing = Publishing(publisher, topic, deadline=1.0)
        await bench.until(lambda: len(journal.of("done")) >= 5 and len(publishing.confirmed) >= 5)
        async with bench.broker.away():
            await asyncio.sleep(5.0)  # leases run out, publishers give up
            await bench.until(lambda: app.health().status is not Status.UP, "health says that nothing moves")
            await bench.never(
                lambda: app.health().status is Status.UP, "it is not over yet, and health says that it is"
            )
        await nothing_is_lost(bench, publishing, journal)
        await bench.until(lambda: set(range(10_000, 10_060)) <= set(journal.numbers()), "what lay there is handled")
        await bench.settled(topic)
        await bench.until(lambda: app.health().status is Status.UP, "health says that it is over")
    assert not await bench.dead(topic), "an outage costs no message its attempts"


@behaviour("C05", verbs=("remove",), seconds=5)
async def what_breaks_one_consumer_does_not_touch_the_others(bench: Bench) -> None:
    broken, sound = bench.topic("broken"), bench.topic("sound")
    app, journal = bench.consumer(broken)
    bench.consumer(sound, journal=journal, app=app)
    assert bench.broker.remove is not None
    async with app.running():
        await bench.publish(broken, Task(1), app=app)
        await bench.publish(sound, Task(1), app=app)
        await bench.until(lambda: len(journal.of("done")) == 2, "both consume")
        await bench.broker.remove(broken.name, "group")

        def health(topic: Topic[Task]) -> Status:
            return next(part.status for part in app.health().parts if part.name == f"{topic.name}/group")

        await bench.until(lambda: health(broken) is not Status.UP, "the one is not well")
        for n in range(2, 12):
            await bench.publish(sound, Task(n), app=app)
            await bench.until(lambda n=n: n in journal.numbers(), "the other goes on")  # type: ignore[misc]
        assert health(sound) is Status.UP, "the other is well"


@behaviour("C06", verbs=("credentials",), seconds=2)
async def wrong_credentials_are_told_at_once_and_not_tried_for_ever(bench: Bench) -> None:
    assert bench.broker.credentials is not None
    app, _ = bench.receiver(bench.topic(), url=bench.broker.credentials)
    began = time.monotonic()
    try:
        async with app.running():
            pass
    except BrokerError:
        pass
    else:
        raise AssertionError("it knows who may use it, and lets in who may not")
    took = time.monotonic() - began
    assert took <= 10, f"after {took:.1f} s"


@behaviour("C08", verbs=("remove",), seconds=5)
async def a_group_that_is_removed_is_made_anew_or_health_says_that_it_is_gone(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic)
    assert bench.broker.remove is not None
    async with app.running():
        await bench.publish(topic, Task(1), app=app)
        await bench.until(lambda: journal.numbers() == [1], "it consumes")
        await bench.broker.remove(topic.name, "group")

        async def told_or_made_anew() -> bool:
            if app.health().status is not Status.UP:
                return True
            await app.publish_many(topic, [Task(2)])
            return 2 in journal.numbers()

        await bench.eventually(told_or_made_anew, bool, "neither is it there again, nor does health say so")
    again, later = bench.consumer(topic)
    async with again.running():
        await bench.publish(topic, Task(3), app=again)
        await bench.until(lambda: 3 in later.numbers(), "whoever starts next makes it anew")


@behaviour("C09", verbs=("rolling",), needs=("durable",), seconds=30)
async def servers_that_are_restarted_in_turn_lose_nothing(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, concurrency=4)
    assert bench.broker.rolling is not None
    async with app.running():
        publishing = Publishing(app, topic)
        await bench.until(lambda: len(journal.of("done")) >= 5)
        await bench.broker.rolling()
        await nothing_is_lost(bench, publishing, journal)


@behaviour("C10", verbs=("throttle",), seconds=4)
async def a_broker_that_takes_little_makes_all_slower_and_loses_nothing(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic)
    assert bench.broker.throttle is not None
    async with app.running():
        publishing = Publishing(app, topic, do="sleep=0.1")
        await bench.until(lambda: len(journal.of("done")) >= 3)
        async with bench.broker.throttle():
            await asyncio.sleep(2.5)  # as long as that lasts
        await nothing_is_lost(bench, publishing, journal)
        await bench.settled(topic)
        await bench.until(lambda: app.health().status is Status.UP, "health says that it is over")
    bench.once(journal.numbers("started"))
    assert not await bench.dead(topic), "it costs no message its attempts"


@behaviour("C11", verbs=("processes",), needs=("durable",), seconds=8)
async def a_member_that_was_given_up_for_slow_says_so_and_consumes_again(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    slow, other = await bench.taken_over(topic, Task(1, "a", "sleep=3"))
    slow.go_on()
    await bench.until(lambda: "was lost" in slow.errors, "it says that it was too slow")
    await bench.until(lambda: 1 in other.journal().numbers() + slow.journal().numbers(), "it is handled")
    assert await other.stop() == 0
    await bench.publish(topic, Task(2, "b"))
    await bench.until(lambda: 2 in slow.journal().numbers(), "it consumes again")
    assert slow.alive


@behaviour("C12", seconds=2)
async def a_message_that_comes_twice_has_its_effect_once_where_ids_are_remembered(bench: Bench) -> None:
    topic = bench.topic(id=numbered)
    known, effects, came = set[str](), list[int](), list[int]()

    def once(handler: Handler) -> Handler:
        async def remembering(delivery: Delivery[Task]) -> None:
            came.append(delivery.value.number)
            if delivery.message.id not in known:
                await handler(delivery)
                known.add(delivery.message.id)

        return remembering

    app = App("group", settings=bench.app().settings, middleware=[once])

    @app.consume(topic, concurrency=1)
    async def handle(task: Task) -> None:
        effects.append(task.number)

    async with app.running():
        for _ in range(2):  # as a publisher does that has got no answer
            await bench.publish(topic, *(Task(n, str(n)) for n in range(5)), app=app)
        await bench.publish(topic, Task(9), app=app)
        await bench.until(lambda: 9 in effects, "all have come")
        await bench.settled(topic)
    assert sorted(effects) == [0, 1, 2, 3, 4, 9], f"effects: {sorted(effects)}"
    if len(came) == len(effects):
        bench.partial("the broker drops a second message of the same id by itself")
