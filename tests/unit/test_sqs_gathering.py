"""SQS: entries share calls, a group's go one after another, and throttling makes fewer calls and loses none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from waybill_sqs.gathering import Gatherer


@dataclass(eq=False)
class Item:
    number: int
    group: str | None = None
    size: int = 1
    given_up: bool = False


@dataclass
class Calls:
    """What a broker would see; `answers`: what it says to the next ones."""

    seen: list[list[int]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    at_once: int = 0
    most: int = 0

    async def __call__(self, batch: Sequence[Item]) -> Sequence[Item] | None:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.seen.append([item.number for item in batch])
        await asyncio.sleep(0.01)  # a call takes its time
        self.at_once -= 1
        answer = self.answers.pop(0) if self.answers else ""
        return None if answer == "throttled" else batch[:1] if answer == "first again" else ()

    async def until(self, done: int) -> None:
        async with asyncio.timeout(5):
            while sum(map(len, self.seen)) < done or self.at_once:
                await asyncio.sleep(0.005)


def gatherer(calls: Calls, *, at_once: int = 4, linger: float = 0.05, most: int = 100) -> Gatherer[Item]:
    return Gatherer(calls, linger=linger, calls=at_once, most=most)


async def test_ten_share_a_call_and_no_more_calls_run_at_once_than_may() -> None:
    calls = Calls()
    gatherer(calls).add([Item(number) for number in range(95)])
    await calls.until(95)
    assert len(calls.seen) == 10
    assert calls.most == 4
    assert sorted(number for batch in calls.seen for number in batch) == list(range(95))


async def test_an_idle_one_calls_at_once_and_a_busy_one_lets_others_join() -> None:
    calls = Calls()
    gathering = gatherer(calls, linger=0.1)
    for number in range(8):
        gathering.add([Item(number)])
    assert calls.seen == []
    await calls.until(8)
    assert [len(batch) for batch in calls.seen] == [1, 7]


async def test_a_call_carries_no_more_bytes_than_it_may() -> None:
    calls = Calls()
    gatherer(calls).add([Item(number, size=40) for number in range(5)])
    await calls.until(5)
    assert sorted(map(len, calls.seen)) == [1, 2, 2]


async def test_no_two_of_a_group_are_under_way_and_they_keep_their_order() -> None:
    calls = Calls(answers=["first again"])
    gatherer(calls, linger=0.0).add([Item(number, group="ab"[number % 2]) for number in range(6)])
    await calls.until(7)
    assert calls.seen[0] == [0, 1]
    even = [number for batch in calls.seen for number in batch if number % 2 == 0]
    assert even == [0, 0, 2, 4]
    assert all(len(batch) <= 2 for batch in calls.seen)


async def test_throttled_it_calls_less_and_loses_none() -> None:
    calls = Calls(answers=["throttled"] * 4)
    gatherer(calls, linger=0.0).add([Item(number) for number in range(80)])
    await calls.until(120)
    assert {number for batch in calls.seen for number in batch} == set(range(80))
    assert len(calls.seen) == 12, "each that was throttled comes once more"


async def test_what_nobody_waits_for_any_more_is_not_sent() -> None:
    calls = Calls()
    gatherer(calls).add([Item(0, given_up=True), Item(1)])
    await calls.until(1)
    assert calls.seen == [[1]]
