"""A process of its own that does what tasks say: to be killed, stopped for a while, or told to end.

python -m waybill_contracts.workers SPEC        SPEC: JSON; what it does is a line each in the journal it names
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from waybill_contracts.tasks import Journal, Step, Task

__all__ = ["Worker", "main"]

READY = 30.0
"""Seconds until a worker must consume."""


class Worker:
    """One such process."""

    def __init__(
        self, folder: Path, url: str, topic: str, group: str, *, broker: dict[str, Any], options: dict[str, Any]
    ) -> None:
        folder.mkdir()
        self._journal = folder / "journal"
        self._errors = folder / "stderr"
        self._spec = json.dumps(
            {
                "url": url,
                "broker": {name: dict(table) for name, table in broker.items()},
                "topic": topic,
                "group": group,
                "journal": str(self._journal),
                **options,
            }
        )
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, *, ready: bool = True) -> None:
        """Returns when it consumes; `ready=False`: when it was started."""
        with self._errors.open("ab") as errors:
            command = [sys.executable, "-m", "waybill_contracts.workers", self._spec]
            self._process = subprocess.Popen(command, stderr=errors)
        if not ready:
            return
        async with asyncio.timeout(READY):
            while "ready" not in {step.what for step in self.journal().steps if step.process == self.pid}:
                assert self._process.poll() is None, self.errors
                await asyncio.sleep(0.02)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def errors(self) -> str:
        """What it has printed to stderr."""
        return self._errors.read_text()

    def journal(self) -> Journal:
        """What its handlers have done so far; also those of the processes that ran before it was started again."""
        journal = Journal(self._journal)
        if self._journal.exists():
            lines = self._journal.read_bytes().splitlines(keepends=True)
            journal.steps = [msgspec.json.decode(line, type=Step) for line in lines if line.endswith(b"\n")]
        return journal

    def kill(self) -> None:
        """SIGKILL: it has no time to do anything."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def stop(self, *, within: float = 15.0) -> int:
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(within):
            while self.alive:
                await asyncio.sleep(0.02)
        return self.process.returncode

    def close(self) -> None:
        if self._process is not None and self.alive:
            self.kill()


def main(spec: dict[str, Any]) -> None:
    """Consume until SIGTERM. `skew`: seconds that its clock is wrong by. `publish`: what it publishes when it consumes, a
    number and the options of `App.publish` each. `redrive`: instead of consuming, send so many dead letters a second to
    their group once more. `load`: instead of consuming, publish for ever, with these options of `Load`. What the broker has
    answered to a settlement is in the journal as `settled`, or `lost` where that came too late."""
    if skew := spec.get("skew"):
        right = time.time
        time.time = lambda: right() + skew
    from waybill import App, Delivery, Retry, Settings, Topic  # noqa: PLC0415 - the parent needs none of it
    from waybill.redrive import redrive  # noqa: PLC0415
    from waybill.serving import serve  # noqa: PLC0415
    from waybill.topology import Subscription  # noqa: PLC0415
    from waybill_contracts.faults.load import publish_until_told  # noqa: PLC0415
    from waybill_contracts.mutants import serve_mutants  # noqa: PLC0415
    from waybill_contracts.tasks import perform  # noqa: PLC0415

    serve_mutants()
    file = os.open(spec["journal"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(step: Step) -> None:
        os.write(file, msgspec.json.encode(step) + b"\n")

    journal = Journal(Path(spec["gate"]), write)
    settings = Settings(
        url=spec["url"],
        broker=spec["broker"],
        lease=spec.get("lease", 30.0),
        shutdown_grace=spec.get("grace", 2.0),
    )
    app = App(spec["group"], settings=settings)
    topic = Topic(spec["topic"], Task, key=lambda task: task.key)

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
    publishing: list[asyncio.Task[None]] = []

    async def publish() -> None:
        for number, options in spec.get("publish", ()):
            await app.publish(topic, Task(number, str(number)), **options)
            write(Step("published", number, str(number), 0, os.getpid(), time.monotonic()))

    def ready() -> None:
        write(Step("ready", 0, "", 0, os.getpid(), 0.0))
        publishing.append(asyncio.get_running_loop().create_task(publish()))

    async def redrive_all(rate: float) -> None:
        async with app.connected() as brokers:
            write(Step("ready", 0, "", 0, os.getpid(), 0.0))
            subscription = Subscription(topic=topic.spec, group=spec["group"])
            await redrive(brokers.of(topic.spec), subscription, lambda _: True, rate=rate)

    if "load" in spec:
        asyncio.run(publish_until_told(app, topic, write, spec["load"]))
        return
    asyncio.run(redrive_all(spec["redrive"]) if "redrive" in spec else serve(app, ready=ready))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
