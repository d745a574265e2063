"""Where faults are made: a topic, who publishes and who consumes there, and what their journals come to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Any

from waybill import App, Retry
from waybill_contracts.bench import Bench
from waybill_contracts.faults.checking import Allowed, check, undecided, unsettled
from waybill_contracts.faults.fault import ROUNDS, SEED
from waybill_contracts.faults.load import KEYS, Load
from waybill_contracts.leftovers import left_since
from waybill_contracts.tasks import Journal, Step
from waybill_contracts.workers import Worker

__all__ = ["CONCURRENCY", "WINDOW", "Range"]

CONCURRENCY = 8
WINDOW = 4 * CONCURRENCY
"""Messages that one consumer holds at most: the default."""
STILL = 15.0
"""Seconds without any progress after which what was confirmed and not handled counts as lost."""


class Range:
    """Consumes ordered where the broker can, so that order is held as well."""

    def __init__(self, bench: Bench, name: str = "steps", *, ordered: bool | None = None) -> None:
        self.bench, self.chance = bench, Random(SEED)
        self.ordered = bench.can.ordered if ordered is None else ordered
        self.topic = bench.topic(name, groups=["group"])
        self.journal = Journal(bench.gate)
        self.faults = 0
        self.kills = 0
        """Of processes, whether they were at work or not."""
        self.at_risk = 0
        """Messages that killed processes were handling."""
        self.over: list[float] = []
        print(f"seed {SEED}, {ROUNDS} rounds")

    # ---------------------------------------------------------------- who publishes and consumes

    def consumer(self, name: str = "group", **options: Any) -> App:
        """An application in this process that consumes and journals. `options`: of `Bench.consumer`."""
        options = {"concurrency": CONCURRENCY, "window": WINDOW, "retry": Retry.fixed(50, delay=0.02), **options}
        app, _ = self.bench.consumer(self.topic, name, self.journal, ordered=self.ordered, **options)
        app.observe(self.journal.settled)
        return app

    def load(self, app: App, **options: Any) -> Load:
        """Publishing in this process through an application that runs."""
        return Load(app, self.topic, self.journal.steps.append, seed=SEED, **options)

    async def worker(self, **options: Any) -> Worker:
        """A process that consumes and journals. `options`: of `Bench.worker`."""
        options = {"concurrency": CONCURRENCY, "attempts": 50, "delay": 0.02, "grace": 10.0, **options}
        return await self.bench.worker(self.topic, ordered=self.ordered, **options)

    async def publisher(self, **options: Any) -> Worker:
        """A process that publishes until it is told to end. `options`: of `Load`."""
        return await self.bench.worker(
            self.topic, ordered=self.ordered, load={"seed": self.chance.randrange(1 << 30), **options}
        )

    # ---------------------------------------------------------------- what they have done

    def steps(self) -> list[Step]:
        """What has been journalled so far, here and in every process."""
        return self.journal.steps + [step for worker in self.bench.workers for step in worker.journal().steps]

    def numbers(self, what: str) -> set[int]:
        return {step.number for step in self.steps() if step.what == what}

    async def busy(self, least: int = 20) -> None:
        """Wait until so many more have been handled than now."""
        before = len(self.numbers("done"))
        await self.bench.until(lambda: len(self.numbers("done")) >= before + least, "it works", every=0.05)

    async def publishes(self) -> None:
        """Wait until one more is confirmed than now."""
        before = len(self.numbers("ok"))
        await self.bench.until(lambda: len(self.numbers("ok")) > before, "publishing goes on", every=0.05)

    async def calm(self) -> None:
        """Wait until all that was confirmed is handled and settled, or nothing moves any more: then the verdict says what
        is lost."""
        left, since = -1, time.monotonic()
        while time.monotonic() - since < STILL:
            now = len(self.numbers("ok") - self.numbers("done"))
            if not now:
                await self.bench.settled(self.topic)
                return
            if now != left:
                left, since = now, time.monotonic()
            await asyncio.sleep(0.1)

    async def letters(self) -> list[int]:
        """The numbers of the dead letters, as often as each is there."""
        return [self.topic.decode(letter).number for letter in await self.bench.dead(self.topic)]

    async def dead(self) -> set[int]:
        """The numbers that are dead letters."""
        return set(await self.letters())

    async def goes_on(self, app: App) -> None:
        """See that nothing is wrong any more: what is published from now on is confirmed and handled once."""
        before = self.numbers("try")
        async with self.load(app, failing=0.0):
            await self.busy()
        await self.calm()
        new = self.numbers("try") - before
        self.bench.once([step.number for step in self.steps() if step.what == "started" and step.number in new])
        assert not (self.numbers("refused") | self.numbers("unknown")) - before, "publishing fails though all is well"

    async def left_nothing(self, before: Mapping[str, set[object]]) -> None:
        """Wait until there is no more in use than `before`."""

        async def left() -> list[str]:
            return left_since(before)

        await self.bench.eventually(left, lambda found: not found, "nothing is left of it, but")

    # ---------------------------------------------------------------- faults, and what they came to

    @asynccontextmanager
    async def fault(self, block: AbstractAsyncContextManager[None] | None = None) -> AsyncGenerator[None, None]:
        """One fault, which lasts as long as the block; from its end on recovery is measured."""
        self.faults += 1
        if block is None:
            yield
        else:
            async with block:
                yield
        self.over.append(time.monotonic())

    def kill(self, victim: Worker, *, publishes: bool = False) -> None:
        """Counts as a fault if it was worth it: the kill of one that is idle shows nothing."""
        victim.pause()  # so that what is counted is what dies
        steps, pid = victim.journal().steps, victim.pid
        victim.kill()
        self.kills += 1
        held = undecided(steps, pid) if publishes else unsettled(steps, pid)
        if held:
            self.faults += 1
            self.at_risk += 0 if publishes else held
            print(f"fault {self.faults}: killed {pid} with {held} in flight")

    @property
    def costly(self) -> int:
        """Faults that may repeat something: where acknowledgements may be on their way, the kill of an idle process as well."""
        return self.faults if self.bench.can.acks_surely else max(self.faults, self.kills)

    async def holds(self, *, each: int = WINDOW + KEYS, within: float | None = None, **allowed: Any) -> None:
        """Raises what is wrong. each, within and `allowed`: of `Allowed`."""
        confirmed = allowed.pop("confirmed", 20)
        limits = Allowed(faults=self.costly, each=each, within=within, ordered=self.ordered, over=self.over, **allowed)
        verdict = check(self.steps(), limits, dead=await self.dead())
        print(verdict.figures)
        verdict.hold(seed=SEED, confirmed=confirmed)
