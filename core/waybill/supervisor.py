"""The supervisor of `waybill run`: starts workers, watches over them, replaces the dead, and ends them in order.

    supervisor ──spawns──▶ worker (a fresh interpreter: nothing is inherited but what is named here)
               ◀──beats──  a pipe a worker: an empty line a beat, a JSON object for news
               ──lifeline▶ one pipe for all, never written to: its end of file tells that the supervisor is gone

A worker is a process group of its own, so that Ctrl-C reaches it once, through the supervisor. It imports the
application; the supervisor never does, so that nothing the application opens at import is opened twice.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from waybill.serving import MARGIN, SAME

__all__ = ["ORDER", "WRONG", "Orders", "Supervisor", "signals"]

ORDER = "WAYBILL_WORKER"
"""The environment variable that tells a worker what to do. Not on its command line: a URL may hold a password."""

MODULE = "waybill.cli.worker"
WRONG = 2
"""A worker's exit code for what was configured wrongly: starting it again cannot help."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds until a dead worker is replaced: doubling from the first to the longest."""
HEALTHY = 60.0
"""Seconds of consuming after which a worker's earlier deaths are forgotten."""
START = 60.0
"""Seconds that a worker may take at least to import the application before the watchdog looks at it."""
FAST = 1.0
"""Seconds that workers have to end after a second signal."""
TICK = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What to run. `app`: as `module:attribute`. `watchdog`: seconds without a sign of life; 0: never.

    `edited`: its files are being edited, so that importing them again without a change is of no use: a worker that ends
    before it has imported them ends the run. `module`: what a worker runs, of a program that has workers of its own;
    `further`: what it is told besides, as JSON.
    """

    app: str
    workers: int = 1
    watchdog: float = 30.0
    url: str | None = None
    dev: bool = False
    edited: bool = False
    module: str = MODULE
    further: Mapping[str, object] = field(default_factory=dict[str, object])


class Worker:
    """One process and what it has told."""

    __slots__ = ("_news", "beaten", "file", "imported", "number", "process", "ready_at", "silent", "tell")

    def __init__(self, number: int, process: Process, tell: Callable[[Worker, dict[str, object]], None]) -> None:
        self.number = number
        self.process = process
        self.tell = tell
        self.silent = 0.0
        """Seconds without a sign of life, of those in which the supervisor itself was awake."""
        self.beaten = False
        self.imported = False
        """Whether it has the application."""
        self.ready_at: float | None = None
        self.file: Path | None = None
        """Where it says to others how it is."""
        self._news = b""

    def hear(self, fd: int) -> None:
        data = os.read(fd, 65536)
        if not data:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)
            return
        self.silent = 0.0
        self.beaten = True
        *lines, self._news = (self._news + data).split(b"\n")
        for line in lines:
            if line:
                self.tell(self, json.loads(line))

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def forget(self) -> None:
        """It has ended; were it killed, it would have left behind that it is well."""
        if self.file is not None:
            with suppress(OSError):
                self.file.unlink(missing_ok=True)

    def kill(self) -> None:
        """With all that it has started itself: its process group is its own."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def __str__(self) -> str:
        return f"worker {self.number} (pid {self.process.pid})"


class Supervisor:
    """Runs workers until it is told to end. `say` is given one line an event."""

    def __init__(self, orders: Orders, say: Callable[[str], None]) -> None:
        self._orders = orders
        self._say = say
        self._workers: set[Worker] = set()
        self._stopping = asyncio.Event()
        self._led = asyncio.Event()
        self._grace = 20.0
        self._bus = ""
        self._told_at: float | None = None
        self._code = 0

    async def run(self) -> int:
        """Until SIGTERM or SIGINT. Returns the exit code: 0, 1 (a worker had to be killed or failed while ending), 2
        (configured wrongly), or 128 + signal after a second signal.
        """
        with signals(self.on_signal):
            return await self.supervise()

    @property
    def told(self) -> bool:
        """Whether a signal has told it to end."""
        return self._told_at is not None

    async def supervise(self) -> int:
        """Like `run`, for a caller that listens for signals itself and passes them to `on_signal`."""
        self._loop = asyncio.get_running_loop()
        self._lifeline, held = os.pipe()  # `held` is this process's alone: it closes with it, however it ends
        watch = self._loop.create_task(self._watch(), name="waybill-watchdog")
        try:
            await asyncio.gather(*(self._keep(number) for number in range(1, self._orders.workers + 1)))
        finally:
            watch.cancel()
            for worker in self._workers:
                worker.kill()
            os.close(held)
            os.close(self._lifeline)
        return self._code

    # ---------------------------------------------------------------- one place and who fills it

    async def _keep(self, number: int) -> None:
        if number > 1:
            await self._led.wait()  # what is configured wrongly is then told once
        deaths = 0
        while not self._stopping.is_set():
            try:
                worker = await self._start(number)
            except OSError as error:  # no memory, no process left: those that run go on
                deaths += 1
                pause = _pause(deaths)
                self._say(f"worker {number} cannot be started: {error}; trying again in {pause:g} s")
                await self._sleep(pause)
                continue
            code = await worker.process.wait()
            self._workers.discard(worker)
            worker.forget()
            if self._stopping.is_set():
                self._ended(worker, code)
            elif (code == WRONG and worker.ready_at is None) or (self._orders.edited and not worker.imported):
                self._code = code if code > 0 else 1
                self.stop()
            else:
                if worker.ready_at is not None and time.monotonic() - worker.ready_at > HEALTHY:
                    deaths = 0
                deaths += 1
                pause = _pause(deaths)
                self._say(f"{worker} ended: {_reason(code)}; restarting in {pause:g} s")
                await self._sleep(pause)

    async def _sleep(self, pause: float) -> None:
        """No longer than until the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._stopping.wait()

    async def _start(self, number: int) -> Worker:
        orders = self._orders
        hear, beats = os.pipe()
        order = {
            "app": orders.app,
            "url": orders.url,
            "dev": orders.dev,
            "further": {**orders.further, "worker": number},
            "beats": beats,
            "lifeline": self._lifeline,
        }
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", orders.module,  # the working directory is searched for the application only
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(beats, self._lifeline),
                env=self._environment(order),
                process_group=0,
            )  # fmt: skip
        except BaseException:
            os.close(hear)
            raise
        finally:
            os.close(beats)
        worker = Worker(number, process, self._told)
        self._workers.add(worker)
        self._loop.add_reader(hear, worker.hear, hear)
        if self._stopping.is_set():  # told while it was being spawned
            worker.signal(signal.SIGTERM)
        return worker

    def _environment(self, order: Mapping[str, object]) -> dict[str, str]:
        given = {**os.environ, ORDER: json.dumps(order)}
        if (
            self._orders.edited
        ):  # Python tells a file from its .pyc by size and second: too coarse for somebody who edits
            given["PYTHONDONTWRITEBYTECODE"] = "1"
        return given

    def _told(self, worker: Worker, news: dict[str, object]) -> None:
        if isinstance(grace := news.get("grace"), int | float):
            self._grace = float(grace)
        if isinstance(bus := news.get("bus"), str):
            worker.imported = True
            if bus != self._bus:
                self._say(bus)
            self._bus = bus
        if news.get("ready"):
            worker.ready_at = time.monotonic()
            self._say(f"{worker} started")
            self._led.set()
        if isinstance(file := news.get("file"), str):
            worker.file = Path(file)
        if isinstance(status := news.get("status"), str):
            why = f": {news['why']}" if news.get("why") else ""
            self._say(f"{worker} is {status}{why}")

    def _ended(self, worker: Worker, code: int) -> None:
        self._say(f"{worker} ended: {_reason(code)}")
        if code not in {0, -signal.SIGTERM} and not self._code:  # SIGTERM's own effect: it was still importing
            self._code = 1

    # ---------------------------------------------------------------- the watchdog

    async def _watch(self) -> None:
        limit = self._orders.watchdog
        if not limit:
            return
        before = time.monotonic()
        pause = min(TICK, limit / 4)
        while True:
            await asyncio.sleep(pause)
            now = time.monotonic()
            # a supervisor that was itself stopped, with the whole machine perhaps, knows nothing about that time, and gives
            # its workers, which were stopped too, time to wake
            slept = now - before > 2 * pause
            awake, before = 0.0 if slept else now - before, now
            for worker in self._workers:
                worker.silent += awake
                if worker.silent > (limit if worker.beaten else max(limit, START)):
                    self._say(f"{worker} gave no sign of life for {worker.silent:.1f} s: killing it")
                    worker.silent = 0.0
                    worker.kill()

    # ---------------------------------------------------------------- the end

    def on_signal(self, number: int) -> None:
        """The first ends the workers in order, a second one at once."""
        now = time.monotonic()
        if self._told_at is None:
            self._told_at = now
            self._say(f"{signal.Signals(number).name}: waiting for handlers to finish; a second signal leaves at once")
            self.stop()
        elif now - self._told_at > SAME:
            self._code = 128 + number
            self._end(signal.SIGINT, FAST)

    def stop(self) -> None:
        """End the workers in order; `run` returns when they have ended."""
        self._stopping.set()
        self._led.set()
        self._end(signal.SIGTERM, self._grace + MARGIN + 3.0)  # a worker ends itself after grace and margin

    def _end(self, number: int, patience: float) -> None:
        """To a worker SIGTERM means to finish, SIGINT to leave at once."""
        for worker in self._workers:
            worker.signal(number)
        self._loop.call_later(patience, self._kill, patience)

    def _kill(self, patience: float) -> None:
        for worker in self._workers:
            self._say(f"{worker} has not ended after {patience:g} s: killing it")
            worker.kill()


@contextmanager
def signals(on_signal: Callable[[int], None]) -> Generator[None]:
    """Call `on_signal` with each SIGTERM and SIGINT, on the event loop."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _pause(deaths: int) -> float:
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(deaths - 1, 10))


def _reason(code: int) -> str:
    if code >= 0:
        return "as told" if code == 0 else f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
