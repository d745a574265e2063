"""History once more: from the command line, beside a group that goes on, and over what transactions and compaction left."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from tests.brokers.running import Running
from tests.contract.kafka_verbs import Verbs
from waybill import App, ConfigurationError, Delivery, DestinationMissing, Retry, Stretch, Topic
from waybill_contracts.bench import Bench
from waybill_contracts.tasks import Task
from waybill_kafka import Kafka

SERVICE = """
from dataclasses import dataclass
from waybill import App, Delivery, Topic

@dataclass
class Order:
    number: int
    customer: str

orders = Topic("{prefix}.orders", Order, key=lambda order: order.customer)
app = App("billing")

@app.consume(orders)
async def bill(order: Order, delivery: Delivery[Order]) -> None:
    print("billed", order.number, delivery.replayed, flush=True)

async def compare(order: Order, delivery: Delivery[Order]) -> None:
    if order.number == 3:
        raise ValueError("three")
    print("compared", order.number, delivery.replayed, flush=True)
"""


class Shell:
    """The command line, in a folder with an application."""

    def __init__(self, verbs: Verbs, folder: Path) -> None:
        self._folder = folder
        self.topic = f"{verbs.prefix}.orders"
        (folder / "service.py").write_text(SERVICE.format(prefix=verbs.prefix))
        (folder / "waybill.toml").write_text(
            f'url = "{verbs.mine}"\napp = "service:app"\n[broker.kafka]\nsasl = "SCRAM-SHA-512"\n'
        )

    async def run(self, *words: str, code: int = 0, given: str = "") -> tuple[str, str]:
        command = [sys.executable, "-c", "import sys; from waybill.cli import main; sys.exit(main())", *words]
        ended = await asyncio.to_thread(
            subprocess.run, command, cwd=self._folder, input=given, capture_output=True, text=True, check=False
        )
        assert ended.returncode == code, ended.stderr
        return ended.stdout, ended.stderr

    async def publish(self, count: int) -> None:
        lines = "".join(json.dumps({"number": n, "customer": f"c{n % 2}"}) + "\n" for n in range(count))
        await self.run("topology", "apply")
        await self.run("publish", self.topic, "--from", "-", given=lines)


@pytest.mark.timeout(300)
async def test_a_dry_run_then_a_shadow_then_the_groups_own_handler(verbs: Verbs, tmp_path: Path) -> None:
    shell = Shell(verbs, tmp_path)
    await shell.publish(6)
    told, beside = await shell.run("replay", shell.topic, "--since", "1h")
    assert told == f"{shell.topic}: at most 6 messages would be replayed to billing\n"
    assert "a dry run" in beside
    assert "--yes" in beside
    told, beside = await shell.run("replay", shell.topic, "--into", "service:compare", "--yes", "--json", code=1)
    lines, bracket, rest = told.partition("[")
    assert sorted(lines.splitlines()) == [f"compared {number} True" for number in (0, 1, 2, 4, 5)]
    (result,) = json.loads(bracket + rest)
    assert (result["handled"], result["failed"], result["dry_run"]) == (5, 1, False)
    assert "three" in result["cause"]
    told, _ = await shell.run("replay", shell.topic, "--key", "c1", "--limit", "2", "--rate", "50", "--yes")
    assert told.splitlines()[:2] == ["billed 1 True", "billed 3 True"]
    (backlog,) = json.loads((await shell.run("backlog", "--json"))[0])
    assert (backlog["ready"], backlog["dead"]) == (6, 0), (
        "the living group has them before it still, and no dead letter"
    )


@pytest.mark.timeout(300)
async def test_seeking_from_the_command_line(verbs: Verbs, tmp_path: Path) -> None:
    shell = Shell(verbs, tmp_path)
    await shell.publish(6)
    _, beside = await shell.run("seek", shell.topic, code=2)
    assert "--since" in beside
    told, _ = await shell.run("seek", shell.topic, "--since", "2999-01-01T00:00:00Z", "--yes")
    assert told == f"{shell.topic}: at most 0 messages lie before billing\n"
    (backlog,) = json.loads((await shell.run("backlog", "--json"))[0])
    assert backlog["ready"] == 0
    told, beside = await shell.run("seek", shell.topic, "--since", "1h")
    assert "6 messages would lie before billing" in told
    assert (await shell.run("backlog", "--json"))[0].find('"ready": 0') > 0, "a dry run moved it"
    await shell.run("seek", shell.topic, "--since", "1h", "--yes")
    (backlog,) = json.loads((await shell.run("backlog", "--json"))[0])
    assert backlog["ready"] == 6


async def test_aborted_records_and_markers_are_no_history(bench: Bench, kafka: Running) -> None:
    topic: Topic[bytes] = Topic(bench.name("plain"), bytes, groups=["group"]).on(Kafka(partitions=1))
    given: list[Delivery[Any]] = []

    async def note(_: bytes, delivery: Delivery[Any]) -> None:
        given.append(delivery)

    app = bench.app()
    async with app.running(consume=False):
        await app.publish(topic, b"first")
        async with AIOKafkaProducer(bootstrap_servers=kafka.address, transactional_id=topic.name) as producer:
            for body in (b"kept", b"aborted"):
                await producer.begin_transaction()
                await producer.send_and_wait(topic.name, body, partition=0)
                await (producer.abort_transaction() if body == b"aborted" else producer.commit_transaction())
        result = await app.replay(topic, Stretch(), to=note)
        assert [delivery.value for delivery in given] == [b"first", b"kept"]
        assert result.handled == 2
        with pytest.raises(ConfigurationError, match="orders/3@1200"):
            await app.replay(topic, Stretch(first=("nonsense",)), to=note)
        with pytest.raises(ConfigurationError, match="there is no partition"):
            await app.replay(topic, Stretch(first=(f"{topic.name}/7@0",)), to=note)
        with pytest.raises(DestinationMissing):
            await app.replay(Topic(bench.name("nowhere"), bytes), Stretch(), to=note)


async def test_what_fails_is_tried_again_as_its_handler_says_and_is_nobodys_dead_letter(bench: Bench) -> None:
    topic = bench.topic()
    app, journal = bench.consumer(topic, ordered=True, retry=Retry.fixed(3, delay=0.01))
    await bench.declare(app)
    await bench.publish(topic, Task(1, "a", "fail=2"), Task(2, "a"), Task(3, "b", "fail=9"), Task(4, "b"))
    async with app.running(consume=False):
        result = await app.replay(topic, Stretch())
    assert journal.attempts(1) == [1, 2, 3]
    assert journal.attempts(3) == [1, 2, 3]
    done = journal.numbers()
    assert done.index(1) < done.index(2), "a key's later message passed the one that failed"
    assert (result.handled, result.failed) == (3, 1)
    assert not await bench.dead(topic)
    assert (await bench.backlog(topic)).ready.value == 4, "the living group has lost what it had before it"


async def test_it_ends_in_order_when_it_is_cancelled(bench: Bench) -> None:
    topic = bench.topic(groups=["group"])
    await bench.publish(topic, *(Task(n, str(n)) for n in range(20)))
    begun, ended = list[int](), list[int]()

    async def slow(task: Task) -> None:
        begun.append(task.number)
        await asyncio.sleep(0.2)
        ended.append(task.number)

    app: App = bench.app()
    async with app.running(consume=False):
        replaying = asyncio.create_task(app.replay(topic, Stretch(), to=slow, rate=20))
        await bench.until(lambda: len(begun) >= 2, "it has begun")
        replaying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await replaying
        assert sorted(begun) == sorted(ended), "a handler was not let end"
        assert len(begun) < 20
