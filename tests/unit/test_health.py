"""Health comes from progress: what does not move is seen, told, and connected anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.stand_ins import Bench, consuming, message, never, until
from waybill import (
    App,
    BrokerError,
    BrokerFileError,
    BrokerUnavailable,
    CircuitBreaker,
    Delivery,
    Settings,
    Status,
    Topic,
)
from waybill.adapter import Admin, Notify, Source, Stalled
from waybill.brokers import Brokers
from waybill.clock import SystemClock
from waybill.loading import AdapterContext, open_adapter
from waybill.outcomes import ACK, Refused, SendResult, Settled
from waybill.topology import Destination, Subscription
from waybill_embedded.source import FileSource


@dataclass
class Job:
    number: int


jobs = Topic("jobs", Job)


class Deaf:
    """The embedded broker, whose first source never hands anything out. opening: called before each further one is opened."""

    def __init__(self, clock: SystemClock) -> None:
        self.inner: Any = open_adapter("memory://", AdapterContext(application="t", clock=clock, options={}))
        self.opened = 0
        self.opening: Callable[[], object] = lambda: None
        self.parting = 0.0
        self.breaks = 0
        self.away: set[int] = set()
        self.broken: asyncio.Event | None = None
        self.asked_late = 0
        self.counted = 0
        self.refuse: Refused | None = None
        self.notify: Notify | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def __aenter__(self) -> Any:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.inner.__aexit__(*error)

    @property
    def admin(self) -> Admin:
        return _Counting(self.inner.admin, self)  # type: ignore[return-value]

    @asynccontextmanager
    async def source(self, subscription: Subscription, *, window: int, notify: Notify) -> AsyncGenerator[Source, None]:
        self.opened += 1
        if self.opened > 1:
            self.opening()
        if self.opened in self.away:
            raise BrokerUnavailable("away")
        self.notify = notify
        async with self.inner.source(subscription, window=window, notify=notify) as source:
            yield _Silent(source, self) if self.opened == 1 else source
            await asyncio.sleep(self.parting)

    @asynccontextmanager
    async def sink(self, destination: Destination) -> AsyncGenerator[Any, None]:
        async with self.inner.sink(destination) as sink:
            yield _Refusing(sink, self)


class _Counting:
    def __init__(self, inner: Admin, deaf: Deaf) -> None:
        self._inner = inner
        self._deaf = deaf

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def backlog(self, subscription: Subscription) -> Any:
        self._deaf.counted += 1
        if self._deaf.counted <= self._deaf.breaks:
            raise KeyError("an adapter's bug")
        return await self._inner.backlog(subscription)


class _Silent:
    def __init__(self, inner: Source, deaf: Deaf) -> None:
        self._inner = inner
        self._deaf = deaf

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        if getattr(self._inner, "quiet", False):  # it was left, and answers at once
            self._deaf.asked_late += 1
            await asyncio.sleep(0)
            return await self._inner.receive(limit)
        if self._deaf.broken is not None:
            await self._deaf.broken.wait()
            raise BrokerUnavailable("away")
        await asyncio.sleep(3600)
        return ()


class _Refusing:
    def __init__(self, inner: Any, deaf: Deaf) -> None:
        self._inner = inner
        self._deaf = deaf

    async def send(self, messages: Sequence[Any], *, deadline: float) -> Sequence[SendResult]:
        if self._deaf.refuse is not None:
            return [self._deaf.refuse] * len(messages)
        return await self._inner.send(messages, deadline=deadline)  # type: ignore[no-any-return]


async def test_a_source_that_goes_silent_with_a_backlog_is_degraded_and_connected_anew() -> None:
    clock = SystemClock()
    app, handled, seen = App("a"), list[int](), list[Status]()
    deaf = Deaf(clock)
    deaf.opening = lambda: seen.append(app.health().status)

    @app.consume(jobs)
    async def work(job: Job) -> None:
        handled.append(job.number)

    settings = Settings(url="memory://", stall_after=3.0)
    async with app._open(Brokers({None: deaf}), settings, clock, consume=True):  # type: ignore[dict-item]
        await asyncio.sleep(4.0)
        assert deaf.opened == 1  # nothing lies ready: silence is as it should be
        assert app.health().status is Status.UP
        await app.publish(jobs, Job(1))
        await until(lambda: handled == [1])
        assert seen == [Status.DEGRADED]
        await until(lambda: app.health().status is Status.UP)
    assert deaf.opened == 2


async def test_what_lies_ready_is_not_asked_for_more_often_than_it_may_lie() -> None:
    clock, app = SystemClock(), App("a")
    deaf = Deaf(clock)

    @app.consume(jobs)
    async def work(_: Job) -> None: ...

    settings = Settings(url="memory://", stall_after=0.4, shutdown_grace=0)
    async with app._open(Brokers({None: deaf}), settings, clock, consume=True):  # type: ignore[dict-item]
        began = asyncio.get_running_loop().time()
        await until(lambda: deaf.counted >= 3)
        assert asyncio.get_running_loop().time() - began >= 2 * settings.stall_after, "it may cost money each time"


async def test_an_adapter_that_breaks_when_looked_at_is_looked_at_again(caplog: pytest.LogCaptureFixture) -> None:
    clock, handled = SystemClock(), list[int]()
    app, deaf = App("a"), Deaf(clock)
    deaf.breaks = 1

    @app.consume(jobs)
    async def work(job: Job) -> None:
        handled.append(job.number)

    settings = Settings(url="memory://", stall_after=0.2)
    async with app._open(Brokers({None: deaf}), settings, clock, consume=True):  # type: ignore[dict-item]
        await app.publish(jobs, Job(1))
        await until(lambda: handled == [1])
    assert "the adapter failed to tell its backlog" in caplog.text


async def test_a_way_that_is_made_anew_is_no_reason_for_a_new_process() -> None:
    clock, app, seen = SystemClock(), App("a"), set[Status]()
    deaf = Deaf(clock)
    deaf.parting = 0.3

    @app.consume(jobs)
    async def work(_: Job) -> None: ...

    async with app._open(Brokers({None: deaf}), Settings(url="memory://"), clock, consume=True):  # type: ignore[dict-item]
        leaving = asyncio.create_task(app.consumer(jobs).reconnect())
        while not leaving.done():
            seen.add(app.health().status)
            await asyncio.sleep(0.01)
        await until(lambda: deaf.opened == 2)
        app.consumer(jobs)._fetcher.task.cancel()
        await until(lambda: app.health().status is Status.DOWN)
    assert seen == {Status.UP}


async def test_a_broker_that_is_away_when_it_is_connected_anew_is_asked_again() -> None:
    clock, handled = SystemClock(), list[int]()
    app, deaf = App("a"), Deaf(clock)
    deaf.away = {2, 3}

    @app.consume(jobs)
    async def work(job: Job) -> None:
        handled.append(job.number)

    settings = Settings(url="memory://", stall_after=3.0)
    async with app._open(Brokers({None: deaf}), settings, clock, consume=True):  # type: ignore[dict-item]
        await app.publish(jobs, Job(1))
        await until(lambda: handled == [1])
        await until(lambda: app.health().status is Status.UP)
    assert (deaf.opened, deaf.asked_late) == (4, 0)


async def test_a_member_that_has_nothing_to_do_while_another_handles_the_only_key_is_up(tmp_path: Path) -> None:
    url, gate, started = f"sqlite:///{tmp_path / 'bus.db'}", asyncio.Event(), list[int]()

    def member() -> App:
        app = App("a", settings=Settings(url=url, stall_after=0.2, shutdown_grace=0))

        @app.consume(Topic("jobs", Job, key=lambda _: "one"), ordered=True, window=20)
        async def work(job: Job) -> None:
            started.append(job.number)
            await gate.wait()

        return app

    busy, idle = member(), member()
    async with busy.running():
        await busy.publish_many(Topic("jobs", Job, key=lambda _: "one"), [Job(n) for n in range(60)])
        await until(lambda: started)
        async with idle.running():
            await never(lambda: idle.health().status is not Status.UP, during=0.8)
    assert started == [0]


async def test_a_stall_is_over_when_nothing_lies_ready_any_more() -> None:
    clock = SystemClock()
    app, deaf = App("a"), Deaf(clock)
    deaf.away = set(range(2, 100))

    @app.consume(jobs)
    async def work(_: Job) -> None: ...

    settings = Settings(url="memory://", stall_after=0.2)
    async with app._open(Brokers({None: deaf}), settings, clock, consume=True):  # type: ignore[dict-item]
        await app.publish(jobs, Job(1))
        consumer = app.consumer(jobs)
        await until(lambda: consumer.stalled)
        async with deaf.inner.source(consumer.subscription, window=1, notify=print) as other:
            taken = await other.receive(1)
            await other.settle([Settled(delivery, ACK) for delivery in taken])
        await until(lambda: consumer.stalled is None)


async def test_what_the_broker_tells_and_what_it_refuses_is_said() -> None:
    clock = SystemClock()
    app = App("a")
    deaf = Deaf(clock)
    deaf.opened = 1

    @app.consume(jobs)
    async def work(_: Job) -> None: ...

    settings = Settings(url="memory://")
    async with app._open(Brokers({None: deaf}), settings, clock, consume=True):  # type: ignore[dict-item]
        assert deaf.notify is not None
        deaf.notify(Stalled("it is away"))
        assert app.health().status is Status.DEGRADED
        assert "it is away" in str(app.health().parts[0].reasons)
        deaf.refuse = Refused("it is full", transient=True)
        await app.publish_many(jobs, [Job(1)])
        (part,) = [part for part in app.health().parts if part.name == "jobs"]
        assert part.reasons == ("the last publish failed: it is full",)
        deaf.refuse = None
        await app.publish_many(jobs, [Job(2)])
        assert [part.status for part in app.health().parts if part.name == "jobs"] == [Status.UP]


async def test_a_paused_subscription_is_up_and_says_so_and_one_that_does_not_run_is_down() -> None:
    app, gate = App("a", settings=Settings(url="memory://", stall_after=0.1)), asyncio.Event()

    @app.consume(jobs, concurrency=1)
    async def work(_: Job) -> None:
        await gate.wait()

    assert not app.health().ok
    async with app.running():
        app.consumer(jobs).pause()
        await app.publish(jobs, Job(1))
        await asyncio.sleep(0.3)  # it must not count as stalled meanwhile
        health = app.health()
        assert health.status is Status.UP
        assert health.parts[0].reasons == ["paused"]
        app.consumer(jobs).resume()
        await until(lambda: app.health().parts[0].running == 1)
        assert app.health().parts[0].held == 1
        gate.set()
        assert msgspec.to_builtins(app.health())["status"] == "up"
    assert app.health().status is Status.DOWN


async def test_a_handler_that_ignores_its_end_makes_the_process_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waybill.handling.HUNG", 0.1)
    app, gate = App("a", settings=Settings(url="memory://", shutdown_grace=0)), asyncio.Event()

    @app.consume(jobs, timeout=0.05)
    async def deaf_to_cancelling(_: Job) -> None:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue

    async with app.running():
        await app.publish(jobs, Job(1))
        await until(lambda: app.health().status is Status.DOWN)
        assert "replace this process" in str(app.health().parts[0].reasons)
        assert not app.health().ok
        gate.set()


@pytest.mark.parametrize("error", [BrokerUnavailable, BrokerFileError])
async def test_a_group_that_has_nothing_to_do_is_up_again_when_the_broker_is(
    error: type[BrokerError], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    away, look = asyncio.Event(), FileSource.look

    async def hindered(source: FileSource, limit: int) -> Any:
        if away.is_set():
            raise error("the disk is full")
        return await look(source, limit)

    monkeypatch.setattr("waybill_embedded.source.PATIENCE", 0.05)
    monkeypatch.setattr(FileSource, "look", hindered)
    app = App("a", settings=Settings(url=f"sqlite:///{tmp_path / 'bus.db'}"))

    @app.consume(jobs)
    async def work(_: Job) -> None: ...

    async with app.running():
        away.set()
        await until(lambda: "the disk is full" in str(app.health()))
        assert not app.health().ready
        away.clear()
        await until(lambda: app.health().ready and app.health().status is Status.UP)


async def test_what_hindered_a_subscription_is_nothing_that_is_stuck_once_nothing_is_wanted() -> None:
    clock, app, bank = SystemClock(), App("a"), CircuitBreaker("bank")
    deaf = Deaf(clock)
    deaf.broken = asyncio.Event()

    @app.consume(jobs, breaker=bank)
    async def work(_: Job) -> None: ...

    async with app._open(Brokers({None: deaf}), Settings(url="memory://"), clock, consume=True):  # type: ignore[dict-item]
        deaf.broken.set()
        await until(lambda: "cannot receive: away" in str(app.health()))
        assert not app.health().ready
        bank.open("their maintenance")
        await until(lambda: app.health().ready)
        assert "cannot receive" not in str(app.health())
        bank.auto()
        await until(lambda: "cannot receive: away" in str(app.health()))


async def test_a_stall_is_over_when_nothing_is_wanted_any_more() -> None:
    clock, app = SystemClock(), App("a")
    deaf = Deaf(clock)
    deaf.away = set(range(2, 100))

    @app.consume(jobs)
    async def work(_: Job) -> None: ...

    settings = Settings(url="memory://", stall_after=0.2)
    async with app._open(Brokers({None: deaf}), settings, clock, consume=True):  # type: ignore[dict-item]
        await app.publish(jobs, Job(1))
        await until(lambda: app.consumer(jobs).stalled)
        app.consumer(jobs).pause()
        await until(lambda: app.health().ready)


async def test_a_handler_that_goes_on_though_its_lease_is_lost_makes_the_process_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("waybill.handling.HUNG", 0.1)
    bench, seen, gate = Bench(), list[str](), asyncio.Event()

    async def work(delivery: Delivery[Any]) -> None:
        seen.append(delivery.message.id)
        while not gate.is_set():
            with suppress(asyncio.CancelledError):
                await gate.wait()

    bench.push(message("a"))
    async with consuming(bench, work, timeout=0.2, concurrency=1) as consumer:
        await until(lambda: seen)
        bench.revoke("a")
        await until(lambda: consumer.hung == 1)
        gate.set()
        await until(lambda: consumer.hung == 0)
