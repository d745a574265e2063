"""What runs in a worker's process: consume, and do what tasks say.

python -m waybill_contracts.working SPEC        SPEC: JSON; what it does is a line each in the journal it names
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from waybill import App, Delivery, Retry, Settings, Topic
from waybill.dlq.index import Index
from waybill.dlq.running import run
from waybill.redrive import redrive
from waybill.serving import serve
from waybill.topology import Subscription
from waybill_contracts.dying import Dying
from waybill_contracts.faults.load import publish_until_told
from waybill_contracts.mutants import serve_mutants
from waybill_contracts.tasks import Journal, Step, Task, key_of, perform, ready

__all__ = ["main"]


def main(spec: dict[str, Any]) -> None:
    """Consume until SIGTERM. `skew`: seconds that its clock is wrong by. `publish`: what it publishes when it consumes, a
    number and the options of `App.publish` each. `redrive`: instead of consuming, send so many dead letters a second to
    their group once more. `load`: instead of consuming, publish for ever, with these options of `Load`. What the broker has
    answered to a settlement is in the journal as `settled`, or `lost` where that came too late."""
    threading.Thread(target=_end_with_its_parent, daemon=True).start()
    if skew := spec.get("skew"):
        right = time.time
        time.time = lambda: right() + skew
    serve_mutants()
    write = _appending(spec["journal"])
    topic = Topic(spec["topic"], Task, key=key_of)
    app = _consumer(topic, Journal(Path(spec["gate"]), write), spec)
    if "load" in spec:
        asyncio.run(publish_until_told(app, topic, write, spec["load"]))
    elif "redrive" in spec:
        asyncio.run(_redrive(app, topic, write, spec))
    elif "operate" in spec:
        asyncio.run(_operate(app, topic, write, spec))
    else:
        asyncio.run(_serve(app, topic, write, spec.get("publish", ())))


def _end_with_its_parent() -> None:
    """Standard input ends when nobody is left who started this process."""
    while os.read(0, 1):
        pass
    os._exit(1)


def _appending(path: str) -> Callable[[Step], None]:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(step: Step) -> None:
        os.write(file, msgspec.json.encode(step) + b"\n")

    return write


def _consumer(topic: Topic[Task], journal: Journal, spec: dict[str, Any]) -> App:
    settings = Settings(
        url=spec["url"],
        broker=spec["broker"],
        lease=spec.get("lease", 30.0),
        shutdown_grace=spec.get("grace", 2.0),
    )
    app = App(spec["group"], settings=settings)

    @app.consume(
        topic,
        ordered=spec.get("ordered", False),
        concurrency=spec.get("concurrency", 10),
        timeout=spec.get("timeout", 60.0),
        retry=Retry.fixed(spec.get("attempts", 3), delay=spec.get("delay", 0.05)),
    )
    async def handle(task: Task, delivery: Delivery[Task]) -> None:
        await perform(task, delivery, journal)

    app.observe(journal.settled)
    return app


async def _serve(
    app: App, topic: Topic[Task], write: Callable[[Step], None], publish: Sequence[tuple[int, dict[str, Any]]]
) -> None:
    publishing: list[asyncio.Task[None]] = []

    async def publish_all() -> None:
        for number, options in publish:
            write(Step("publishing", number, str(number), 0, os.getpid(), time.monotonic()))
            await app.publish(topic, Task(number, str(number)), **options)
            write(Step("published", number, str(number), 0, os.getpid(), time.monotonic()))

    def started() -> None:
        write(ready())
        publishing.append(asyncio.create_task(publish_all()))

    await serve(app, ready=started)


async def _redrive(app: App, topic: Topic[Task], write: Callable[[Step], None], spec: dict[str, Any]) -> None:
    async with app.connected() as brokers:
        write(ready())
        subscription = Subscription(topic=topic.spec, group=spec["group"], lease=spec.get("lease", 30.0))
        await redrive(brokers.of(topic.spec), subscription, lambda _: True, rate=spec["redrive"])


async def _operate(app: App, topic: Topic[Task], write: Callable[[Step], None], spec: dict[str, Any]) -> None:
    subscription = Subscription(topic=topic.spec, group=spec["group"], lease=spec.get("lease", 30.0))
    what = spec["operate"]
    with Index.open(what["index"]) as index:
        operations = Dying(index, what.get("step", ""), time=what.get("time", 1))
        operation = operations.get(what["operation"])
        async with app.connected() as brokers:
            write(ready())
            await run(brokers.of(topic.spec), subscription, operations, operation)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
