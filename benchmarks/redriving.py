"""Dead letters once more: how many a second, whether an asked rate is kept, and what 100,000 of them need of memory.

What is counted is letters whose copies are confirmed and flushed to the disk, and that are removed, by the wall clock. A plain
redrive writes nothing down; an operation claims each letter in an index that knows them already, writes each of its steps down,
and can be gone on with.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.embedded import place, remove
from benchmarks.harness import Row, Run, alone
from benchmarks.payload import Order, order
from waybill import App, Confirmed, DeadLetterRecord, Settings, Topic
from waybill.adapter import Adapter
from waybill.composing import message_of
from waybill.dlq.index import Index
from waybill.dlq.model import Query
from waybill.dlq.operation import Orders
from waybill.dlq.operations import Operations
from waybill.dlq.running import run as carry_out
from waybill.ids import new_id
from waybill.redrive import Redriven, redrive
from waybill.topology import Destination, Subscription

__all__ = ["measure", "measured"]

LETTERS = 100_000
FEW = 10_000
RATE = 2_000
SECONDS = 5
ROUNDS = 3
CHUNK = 500
CACHE = 64
"""MiB that the index keeps of its file in memory, at most: what is bounded counts as flat."""
GROUP = "bench"
NUMBERS = itertools.count()


def measure(run: Run) -> list[Row]:
    """Letters a second; MiB."""
    with remove(place(run.folder)) as folder:
        url = f"sqlite:///{folder / 'bus.db'}?sync=normal"
        rows = measured(run, lambda: url, "")
        few, many = (asyncio.run(_operated(url, folder, run.messages(count)))[1] for count in (FEW, LETTERS))
    what = f"operation on {LETTERS:,} dead letters, highest memory above that for {FEW:,}"
    return [*rows, alone(what, "MiB", many - few, at_most=CACHE)]


def measured(run: Run, url: Callable[[], str], where: str) -> list[Row]:
    """On one broker. url: called for each."""
    count, at_rate = run.messages(LETTERS), run.messages(RATE * SECONDS)
    logging.disable(logging.WARNING)
    try:
        plain = median(asyncio.run(_redriven(url(), count, None)) for _ in range(ROUNDS))
        slow = asyncio.run(_redriven(url(), at_rate, RATE))
        with remove(place(run.folder)) as folder:
            operated = median(asyncio.run(_operated(url(), folder, count))[0] for _ in range(ROUNDS))
    finally:
        logging.disable(logging.NOTSET)
    return [
        alone(f"{where}redrive of {count:,} dead letters", "letters/s wall", plain, at_least=5_000),
        alone(f"{where}operation on {count:,} dead letters", "letters/s wall", operated, at_least=5_000),
        alone(f"{where}redrive at {RATE:,} a second: off by", "%", abs(slow / RATE - 1) * 100, at_most=5),
    ]


async def _redriven(url: str, count: int, rate: float | None) -> float:
    """Letters a second: of all that it took; with a rate, from the first send to the last."""
    topic = _topic()
    app = App(GROUP, settings=Settings(url=url), topics=[topic])
    seen: dict[int, float] = {}

    def note(far: Redriven) -> None:
        seen.setdefault(far.sent, time.perf_counter())

    async with app.connected() as brokers:
        adapter, group = await _buried(app, brokers.of(topic.spec), topic, count)
        began = time.perf_counter()
        done = await redrive(adapter, group, lambda _: True, rate=rate, on_progress=note)
        seconds = time.perf_counter() - began
    if done.sent != count or done.unremoved:
        raise RuntimeError(f"{done.sent} of {count} redriven: {done.cause}")
    if rate is None:
        return count / seconds
    first, last = min(seen), max(seen)
    return (last - first) / (seen[last] - seen[first])


async def _operated(url: str, folder: Path, count: int) -> tuple[float, float]:
    """Letters a second, from the claim to the last that is removed; and MiB resident at the most meanwhile."""
    topic = _topic()
    app = App(GROUP, settings=Settings(url=url), topics=[topic])
    async with app.connected() as brokers:
        with Index.open(folder / f"{new_id()}.db") as index:
            adapter, group = await _buried(app, brokers.of(topic.spec), topic, count, index)
            operations = Operations(index)
            operation = operations.begin("redrive", group, Query(), Orders(), by="bench")
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            began = time.perf_counter()
            outcome = await carry_out(adapter, group, operations, operation)
            seconds = time.perf_counter() - began
    if not outcome.whole or outcome.progress.total != count:
        raise RuntimeError(f"{outcome.progress} of {count}: {outcome.waits}")
    return count / seconds, _highest()


def _highest() -> float:
    """MiB that this process had at the most since `clear_refs`."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _topic() -> Topic[Order]:
    """One that was not there before."""
    return Topic(f"bench.redriven-{next(NUMBERS)}", Order, groups=[GROUP])


async def _buried(
    app: App, adapter: Adapter, topic: Topic[Order], count: int, index: Index | None = None
) -> tuple[Adapter, Subscription]:
    """So many dead letters of the group, and the index knows them: `collect` sees no more than the broker shows at once."""
    await adapter.admin.apply(await adapter.admin.plan(app.topology))
    record = DeadLetterRecord(
        reason="rejected", topic=topic.name, group=GROUP, attempts=1, at=datetime.now(UTC), detail="not today"
    )
    now = time.time()
    async with adapter.sink(Destination("dead", topic.spec, GROUP)) as sink:
        for start in range(0, count, CHUNK):
            letters = [
                msgspec.structs.replace(
                    message_of(GROUP, topic, order(number), now=now), dead=msgspec.structs.replace(record, id=new_id())
                )
                for number in range(start, min(count, start + CHUNK))
            ]
            results = await sink.send(letters, deadline=asyncio.get_running_loop().time() + 60)
            if not all(isinstance(result, Confirmed) for result in results):
                raise RuntimeError("what was to be redriven could not be stored")
            if index is not None:
                index.record(topic.name, GROUP, letters, now=datetime.now(UTC))
    return adapter, Subscription(topic=topic.spec, group=GROUP)
