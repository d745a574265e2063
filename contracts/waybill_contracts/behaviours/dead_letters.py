"""G. Dead letters: nothing is given up in silence, and nothing is lost on the way there."""

from __future__ import annotations

from waybill import Retry, Status
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Task
from waybill_contracts.workers import Worker


@behaviour("D04", verbs=("away",), seconds=5)
async def while_dead_letters_cannot_be_placed_the_message_stays_and_health_says_so(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic)
    assert bench.broker.away is not None
    async with app.running():
        await bench.publish(topic, Task(1, "a", "sleep=0.5 reject"), app=app)
        await bench.until(lambda: journal.of("started"), "its handler runs")
        async with bench.broker.away():
            await bench.until(lambda: journal.of("failed"), "it is rejected")
            await bench.until(lambda: app.health().status is not Status.UP, "health says so")
        await bench.eventually(lambda: bench.dead(topic), lambda dead: len(dead) == 1, "it is a dead letter in the end")
        await bench.until(lambda: app.health().status is Status.UP, "health says that it is over")
        await bench.publish(topic, Task(2, "b"), app=app)
        await bench.until(lambda: 2 in journal.numbers(), "it goes on")
    assert [letter.dead.reason for letter in await bench.dead(topic) if letter.dead] == ["rejected"]


@behaviour("D12", verbs=("processes",), needs=("durable",), seconds=8)
async def a_message_that_kills_its_process_is_a_dead_letter_in_the_end_and_the_others_go_on(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    tasks = [Task(n, str(n), "exit" if n == 3 else "") for n in range(8)]
    await bench.publish(topic, *tasks)
    handled: set[int] = set()
    deaths = 0
    for _ in range(12):
        worker = await bench.worker(topic, attempts=3, lease=2.0, concurrency=2)

        async def finished(worker: Worker = worker) -> bool:
            return not worker.alive or len(await bench.dead(topic)) == 1

        await bench.eventually(finished, bool, "the process dies or the message is a dead letter")
        deaths += not worker.alive
        handled |= set(worker.journal().numbers())
        if len(await bench.dead(topic)) == 1:
            break
        worker.kill()
    await bench.until(lambda: set(range(8)) - {3} <= {n for w in bench.workers for n in w.journal().numbers()})
    (letter,) = await bench.dead(topic)
    assert letter.dead is not None
    assert letter.dead.reason == "crashed"
    assert 3 <= deaths <= 5, f"{deaths} processes died of it; its budget is 3"


@behaviour("D13", seconds=3)
async def a_handler_that_never_returns_is_ended_and_its_message_is_a_dead_letter_after_its_budget(
    bench: Bench,
) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, timeout=0.3, retry=Retry.fixed(3, delay=0.05), concurrency=2)
    async with app.running():
        await bench.publish(topic, *(Task(n, str(n), "hang" if n == 1 else "") for n in range(6)), app=app)
        await bench.eventually(lambda: bench.dead(topic), lambda dead: len(dead) == 1, "it is a dead letter")
        await bench.until(lambda: sorted(journal.numbers()) == [0, 2, 3, 4, 5], "the others are handled")
    assert journal.attempts(1) == [1, 2, 3]
    (letter,) = await bench.dead(topic)
    assert letter.dead is not None
    assert (letter.dead.reason, letter.dead.attempts) == ("retries_exhausted", 3)
    assert "HandlerTimeout" in (letter.dead.error or "")
