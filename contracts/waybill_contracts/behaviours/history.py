"""Y. History: what was handled once more, for a throwaway group, and groups that begin somewhere else."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from waybill import BrokerError, Delivery, Replayed, Stretch, Topic
from waybill.replaying import history_of
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Task, key_of, numbers_of


class Shadow:
    """A handler that is nobody's: notes what it is given, and fails for one number."""

    def __init__(self, fails: int | None = None) -> None:
        self.given: list[Delivery[Task]] = []
        self._fails = fails

    async def __call__(self, task: Task, delivery: Delivery[Task]) -> None:
        if task.number == self._fails:
            raise ValueError("as told")
        self.given.append(delivery)


@behaviour("Y01", needs=("replays",), seconds=5)
async def a_stretch_of_history_is_handled_once_more_and_marked_and_the_living_group_is_untouched(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    app, given = bench.receiver(topic)
    async with bench.app("operator").running(consume=False) as operator, app.running():
        early = [await operator.publish(topic, Task(number, f"key-{number % 4}")) for number in range(10)]
        await asyncio.sleep(0.01)
        since = datetime.now(UTC)
        await asyncio.sleep(0.01)  # brokers tell milliseconds
        for number in range(10, 20):
            await operator.publish(topic, Task(number, f"key-{number % 4}"))
        await bench.until(lambda: len(given) == 20, "all are handled")
        await bench.settled(topic)

        async def replayed(stretch: Stretch, shadow: Shadow, **options: Any) -> Replayed:
            return await operator.replay(topic, stretch, group="group", to=shadow, **options)

        await _by_time_position_and_key(replayed, since, early[3].position)
        await _with_a_failure_and_a_rate(replayed)
        async with bench.app("group").admin() as admin:
            left = await admin.backlog(bench.subscription(topic))
        assert (left.ready.value, left.dead.value) == (0, 0), f"the living group has something to do: {left}"
        await operator.publish(topic, Task(20))
        await bench.until(lambda: len(given) == 21, "the living group goes on")
    assert numbers_of(given).count(20) == 1
    assert len(given) == 21, f"the living group was handed {numbers_of(given)}"
    assert not any(delivery.replayed for delivery in given), "news is marked as replayed"


async def _by_time_position_and_key(replayed: Any, since: datetime, position: str) -> None:
    late, all_of_it, one_key, some_keys, one = Shadow(), Shadow(), Shadow(), Shadow(), Shadow()
    await replayed(Stretch(since=since), late)
    assert sorted(numbers_of(late.given)) == list(range(10, 20)), f"since a time: {numbers_of(late.given)}"
    assert all(delivery.replayed for delivery in late.given), "it is not marked"
    assert {delivery.group for delivery in late.given} != {"group"}, "it has the living group's name"
    await replayed(Stretch(until=since), all_of_it)
    assert sorted(numbers_of(all_of_it.given)) == list(range(10)), f"before a time: {numbers_of(all_of_it.given)}"
    await replayed(Stretch(keys=frozenset({"key-1"})), one_key)
    assert numbers_of(one_key.given) == [1, 5, 9, 13, 17], f"one key, in its order: {numbers_of(one_key.given)}"
    await replayed(Stretch(first_key="key-2", last_key="key-3"), some_keys)
    assert sorted(numbers_of(some_keys.given)) == [n for n in range(20) if n % 4 in {2, 3}], "keys between two"
    await replayed(Stretch(first=(position,), last=(position,)), one)
    assert numbers_of(one.given) == [3], f"one position: {numbers_of(one.given)}"


async def _with_a_failure_and_a_rate(replayed: Any) -> None:
    began = time.monotonic()
    result = await replayed(Stretch(), failing := Shadow(fails=7), rate=20.0, limit=10)
    took = time.monotonic() - began
    assert (result.handled + result.failed, len(failing.given)) == (10, result.handled), f"{result}"
    assert took > 0.2, f"10 at 20 a second took {took:.2f} s"
    whole = await replayed(Stretch(), Shadow(fails=7))
    assert (whole.handled, whole.failed) == (19, 1), f"one of them fails: {whole}"
    assert "as told" in whole.cause, whole.cause


@behaviour("Y02", needs=("replays",), seconds=4)
async def a_group_begins_somewhere_else_when_it_comes_back_and_not_while_it_is_consumed(bench: Bench) -> None:
    topic: Topic[Task] = bench.topic(key=key_of)
    app, given = bench.receiver(topic)
    began = datetime.now(UTC)
    async with bench.app("operator").connected() as brokers:
        history = history_of(brokers.of(topic.spec), topic.spec)
        async with app.running():
            for number in range(10):
                await app.publish(topic, Task(number, str(number)))
            await bench.until(lambda: len(given) == 10, "all are handled")
            await bench.settled(topic)
            refused = ""
            try:
                await history.seek(bench.subscription(topic), Stretch(since=began))
            except BrokerError as error:
                refused = str(error)
            assert "stop" in refused, f"it is consumed, and may be moved all the same: {refused!r}"
        await history.seek(bench.subscription(topic), Stretch(since=began))
        backlog = await brokers.admin.backlog(bench.subscription(topic))
        assert backlog.ready.value == 10, f"all lie before it again: {backlog}"
    async with app.running():
        await bench.until(lambda: len(given) == 20, "all are handled once more")
    assert sorted(numbers_of(given)) == sorted([*range(10), *range(10)])
