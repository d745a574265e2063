"""What a behaviour is shown on: a broker, names of its own, applications, processes, and bounded waiting."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import msgspec

from waybill import App, Confirmed, DeadLetterRecord, Delivery, Message, Retry, Settings, Topic, TopicPattern
from waybill.adapter import Capabilities, Limits
from waybill.clock import SystemClock
from waybill.composing import message_of
from waybill.letters import pages
from waybill.loading import AdapterContext, open_adapter
from waybill.redrive import Redriven, redrive
from waybill.topology import Backlog, Destination, Subscription
from waybill_contracts.harness import Broker
from waybill_contracts.tasks import Journal, Task, key_of, perform
from waybill_contracts.workers import Worker

__all__ = ["FAST", "PATIENCE", "Bench"]

T = TypeVar("T")

BATCH = 500
FAST = Retry.fixed(3, delay=0.05)
"""Three attempts, a moment apart."""
PATIENCE = 45.0
"""Seconds that something which must happen is given: longer than a lease, after which comes again what was on its way."""


class Bench:
    """Made anew for each behaviour. `with Bench(…) as bench`: its workers end with it."""

    def __init__(self, broker: Broker, folder: Path, *, patience: float = PATIENCE) -> None:
        """`patience`: seconds that something which must happen is given, unless the promise names its own."""
        self.patience = patience
        self.broker = broker
        self.url = broker.url
        self.folder = folder
        self.notes: list[str] = []
        """The weaker assertions that were made, each in words."""
        self.workers: list[Worker] = []
        self.gate = folder / "gate"
        self._tag = broker.prefix or f"w{uuid.uuid4().hex[:10]}"
        context = AdapterContext(application="contracts", clock=SystemClock(), options=broker.options)
        self._adapter = open_adapter(self.url, context)
        self.can: Capabilities = self._adapter.claims
        self.native = self._adapter.native_settlements

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.close()

    def name(self, name: str) -> str:
        """`name`, of this test alone."""
        return f"{self._tag}.{name}"

    def topic(self, name: str = "tasks", **options: Any) -> Topic[Task]:
        """A topic of this test, which carries tasks, ordered by their key. A queue with one group, unless `groups` says."""
        options.setdefault("key", key_of)
        return Topic(self.name(name), Task, **options)

    def app(self, name: str = "group", **settings: Any) -> App:
        """An application on the broker; its name is its group's. `settings`: e.g. `lease`, `shutdown_grace`."""
        given: dict[str, Any] = {"url": self.url, "shutdown_grace": 2.0, "publish_deadline": 10.0, **settings}
        return App(name, settings=Settings(broker=self.options(), **given))

    def options(self) -> dict[str, dict[str, Any]]:
        """The `[broker.…]` tables."""
        return {name: dict(table) for name, table in self.broker.options.items()}

    def consumer(
        self,
        topic: Topic[Task] | TopicPattern[Task] | Sequence[Topic[Task]],
        name: str = "group",
        journal: Journal | None = None,
        *,
        app: App | None = None,
        **options: Any,
    ) -> tuple[App, Journal]:
        """An application that does what the tasks say, and its journal. `app`: one that gets another consumer. `options`:
        of `App.consume`; `lease`, `shutdown_grace` and `stall_after`: the settings."""
        topics = topic if isinstance(topic, Sequence) else (topic,)
        settings = {key: options.pop(key) for key in ("lease", "shutdown_grace", "stall_after") if key in options}
        app = self.app(name, **settings) if app is None else app
        notes = Journal(self.gate) if journal is None else journal
        options.setdefault("retry", FAST)

        async def handle(task: Task, delivery: Delivery[Task]) -> None:
            await perform(task, delivery, notes)

        cast("Any", app.consume)(*topics, **options)(handle)
        return app, notes

    async def publish(self, topic: Topic[Any], *values: Any, app: App | None = None, **options: Any) -> list[str]:
        """Publish one after another, each confirmed; their ids. Through `app` if it runs, else through one of its own."""
        if app is not None:
            return [(await app.publish(topic, value, **options)).id for value in values]
        async with self.app("publisher").running(consume=False) as publisher:
            return [(await publisher.publish(topic, value, **options)).id for value in values]

    async def publish_many(self, app: App, topic: Topic[Any], values: Sequence[Any]) -> None:
        """Publish in one call, each confirmed: what was refused would be waited for in vain."""
        results = await app.publish_many(topic, values, deadline=60.0)
        failed = [result for result in results if not isinstance(result, Confirmed)]
        assert not failed, f"{len(failed)} of {len(results)} were not confirmed, the first: {failed[0]}"

    async def declare(self, *apps: App) -> None:
        """Make what these applications name, without running them."""
        for app in apps:
            async with app.admin() as admin:
                await admin.apply(await admin.plan(app.topology))

    def subscription(self, topic: Topic[Any], group: str = "group") -> Subscription:
        return Subscription(topic=topic.spec, group=group)

    async def dead(self, topic: Topic[Any], group: str = "group") -> list[Message]:
        """The dead letters of a group."""
        async with self.app("operator").admin() as admin:
            return [m async for page in pages(admin, self.subscription(topic, group)) for m in page.messages]

    async def bury(self, topic: Topic[Any], values: Sequence[Any], group: str = "group") -> None:
        """Put these among the dead letters of a group, as if it had given them up."""
        async with self.app("operator").connected() as brokers:
            place = Destination("dead", topic.spec, group)
            async with brokers.of(topic.spec).sink(place) as sink:
                for start in range(0, len(values), BATCH):
                    letters = [_letter(topic, value, group) for value in values[start : start + BATCH]]
                    results = await sink.send(letters, deadline=asyncio.get_running_loop().time() + self.patience)
                    failed = [result for result in results if not isinstance(result, Confirmed)]
                    assert not failed, f"{len(failed)} of {len(results)} were not confirmed, the first: {failed[0]}"

    async def backlog(self, topic: Topic[Any], group: str = "group") -> Backlog:
        async with self.app("operator").admin() as admin:
            return await admin.backlog(self.subscription(topic, group))

    async def worker(self, topic: Topic[Any], name: str = "group", *, ready: bool = True, **options: Any) -> Worker:
        """A process that does what the tasks say; ready when this returns (unless `ready=False`), and ended with the test.

        `options`: ordered, concurrency, attempts, delay (of retries), timeout, lease, grace, skew, publish,
        redrive, load; see `working`.
        """
        number = len(self.workers)
        worker = Worker(
            self.folder / f"worker-{number}",
            self.url,
            topic.name,
            name,
            broker=self.options(),
            options={"gate": str(self.gate), **options},
        )
        self.workers.append(worker)
        await worker.start(ready=ready)
        return worker

    async def taken_over(self, topic: Topic[Task], task: Task) -> tuple[Worker, Worker]:
        """Two processes: one has begun the task and stands still, the other has begun it since the lease ran out."""
        first = await self.worker(topic, lease=2.0)
        await self.publish(topic, task)
        await self.until(lambda: first.journal().of("started"), "the first has it")
        first.pause()
        second = await self.worker(topic, lease=2.0)
        await self.until(lambda: second.journal().of("started"), "the second takes it over")
        return first, second

    async def redrive(
        self,
        topic: Topic[Any],
        group: str = "group",
        wanted: Callable[[Message], bool] = lambda _: True,
        *,
        ordered: bool = False,
        limit: int | None = None,
    ) -> Redriven:
        """Send the dead letters of a group that are `wanted` to it once more."""
        subscription = Subscription(topic=topic.spec, group=group, ordered=ordered)
        async with self.app("operator").connected() as brokers:
            return await redrive(brokers.of(topic.spec), subscription, wanted, limit=limit)

    async def settled(self, topic: Topic[Any], group: str = "group", *, within: float | None = None) -> None:
        """Wait until nothing lies before the group: all that was handled is acknowledged as well."""
        await self.eventually(
            lambda: self.backlog(topic, group),
            lambda backlog: not (backlog.ready.value or backlog.in_flight.value or backlog.delayed.value),
            "all is settled",
            within=within,
        )

    def open_gate(self) -> None:
        """Let tasks go on that `wait`, in every process."""
        self.gate.touch()

    def partial(self, note: str) -> None:
        """What is shown from here on is weaker than the promise; `note` says how. One that begins with "at times" is by
        chance: once it is written down, a run need not see it."""
        self.notes.append(note)

    def once(self, numbers: Sequence[int]) -> None:
        """None of these came twice; at most one in twenty where a broker may hand out twice though nothing is wrong."""
        again = len(numbers) - len(set(numbers))
        if again and not (self.can.ordered or self.can.acks_surely) and again <= len(numbers) / 20:
            self.partial("at times a message comes twice though nothing is wrong")
            return
        twice = sorted({number for number in numbers if numbers.count(number) > 1}) if again else []
        assert not again, f"{again} came once more than they should: {twice!r:.200}"

    def receiver(
        self, topic: Topic[Any] | TopicPattern[Any], name: str = "group", **options: Any
    ) -> tuple[App, list[Delivery[Any]]]:
        """An application that notes what it is handed, and is done with it. `options`: of `App.consume`; `url` and
        `topology`: the settings."""
        settings = {key: options.pop(key) for key in ("url", "topology") if key in options}
        app, given = self.app(name, **settings), list[Delivery[Any]]()

        async def note(_: Any, delivery: Delivery[Any]) -> None:
            given.append(delivery)

        cast("Any", app.consume)(topic, **options)(note)
        return app, given

    def limits(self, topic: Topic[Any]) -> Limits:
        """What a message on the topic may weigh."""
        return self._adapter.limits(Destination("topic", topic.spec))

    # ---------------------------------------------------------------- waiting

    async def until(
        self,
        true: Callable[[], Any],
        what: str | Callable[[], str] = "",
        *,
        within: float | None = None,
        every: float = 0.01,
    ) -> None:
        """Wait until `true()`, at most `within` seconds; look `every` so many. `what`: said where it was not, or made then."""
        within = self.patience if within is None else within
        end = time.monotonic() + within
        while not true():
            if time.monotonic() >= end:
                told = what if isinstance(what, str) else what()
                raise AssertionError(f"not within {within:g} s: {told or 'what must happen'}")
            await asyncio.sleep(every)

    async def eventually(
        self, look: Callable[[], Awaitable[T]], true: Callable[[T], Any], what: str = "", *, within: float | None = None
    ) -> T:
        """Look again and again until what is seen is as it must be."""
        within = self.patience if within is None else within
        end = time.monotonic() + within
        while True:
            seen = await look()
            if true(seen):
                return seen
            assert time.monotonic() < end, f"not within {within:g} s: {what}: {seen!r:.500}"
            await asyncio.sleep(0.05)

    async def never(self, true: Callable[[], Any], what: str = "", *, during: float = 0.5) -> None:
        """See that `true()` does not become true for so many seconds."""
        end = time.monotonic() + during
        while time.monotonic() < end:
            assert not true(), what or "it must not happen"
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def running(self, *apps: App) -> AsyncGenerator[None, None]:
        """All of these run while the block lasts."""
        if not apps:
            yield
            return
        async with apps[0].running(), self.running(*apps[1:]):
            yield


def _letter(topic: Topic[Any], value: Any, group: str) -> Message:
    now = time.time()
    at = datetime.fromtimestamp(now, UTC)
    record = DeadLetterRecord(
        id=str(uuid.uuid4()), reason="retries_exhausted", topic=topic.name, group=group, attempts=3, at=at
    )
    return msgspec.structs.replace(message_of("publisher", topic, value, now=now), dead=record)
