"""What is opened at the first need of it: once, in the order of those who came, and anew where it failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar, copy_context
from typing import ClassVar

import pytest

from tests.unit.stand_ins import never, until
from waybill import App, ClosedError, Confirmed, Settings, Topic
from waybill.adapter import Adapter, Sink
from waybill.entrance import Entrance
from waybill.instruments import Instrument
from waybill.telemetry.around import Seen, covering
from waybill.topology import Destination

whose: ContextVar[str] = ContextVar("whose", default="nobody's")


class Door:
    def __init__(self) -> None:
        self.opened, self.given_up, self.contexts = 0, 0, list[str]()
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        self.entrance = Entrance(self._open, copy_context())

    async def _open(self) -> str:
        self.opened += 1
        self.contexts.append(whose.get())
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if self.error is not None:
            raise self.error
        return "the way"


async def test_who_comes_when_it_has_just_been_opened_passes_nobody() -> None:
    door, passed = Door(), list[int]()

    async def go(number: int) -> None:
        whose.set(f"{number}'s")
        assert (door.entrance.open or await door.entrance.enter()) == "the way"
        passed.append(number)

    async def come(first: int, last: int) -> None:
        for number in range(first, last):
            going.append(asyncio.create_task(go(number)))
            await asyncio.sleep(0)

    going = list[asyncio.Task[None]]()
    await come(0, 5)
    door.gate.set()
    await come(5, 20)
    await asyncio.gather(*going)
    assert passed == list(range(20))
    assert (door.opened, door.contexts) == (1, ["nobody's"])
    await until(lambda: door.entrance.open == "the way")


async def test_an_error_goes_to_all_who_wait_and_the_next_has_it_opened_anew() -> None:
    door = Door()
    door.error = OSError("away")
    waiting = [asyncio.create_task(door.entrance.enter()) for _ in range(3)]
    await until(lambda: door.opened == 1)
    door.gate.set()
    assert [type(error) for error in await asyncio.gather(*waiting, return_exceptions=True)] == [OSError] * 3
    door.error = None
    assert await door.entrance.enter() == "the way"
    assert door.opened == 2


async def test_it_is_given_up_when_nobody_waits_any_more_and_not_before() -> None:
    door = Door()
    for patience in (0.01, 0.02):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(patience):
                await door.entrance.enter()
    await until(lambda: door.given_up == door.opened == 2)
    staying, leaving = (asyncio.create_task(door.entrance.enter()) for _ in range(2))
    await until(lambda: door.opened == 3)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    door.gate.set()
    assert await staying == "the way"
    assert door.given_up == 2


class Shut(Seen):
    """A broker that answers nobody who wants to publish."""

    asked: ClassVar[list[str]] = []

    @asynccontextmanager
    async def sink(self, destination: Destination) -> AsyncGenerator[Sink, None]:
        self.asked.append(destination.name)
        await asyncio.Event().wait()
        async with self.inner.sink(destination) as sink:
            yield sink


class Shutting(Instrument):
    def around(self, adapter: Adapter) -> Adapter:
        return covering(adapter, Shut)


async def test_who_waits_when_the_application_stops_is_told_so_and_nothing_is_opened_any_more() -> None:
    Shut.asked.clear()
    before = asyncio.all_tasks()
    app = App("a", settings=Settings(url="memory://"), instruments=[Shutting()])
    one, another = Topic("one", str, unrouted="accept"), Topic("another", str, unrouted="accept")
    late = list[asyncio.Task[Confirmed]]()

    async def publish_once_more() -> Confirmed:
        try:
            return await app.publish(one, "a")
        finally:
            late.append(asyncio.create_task(app.publish(another, "b")))

    async with app.running():
        publishing = asyncio.create_task(publish_once_more())
        await until(lambda: Shut.asked)
    await asyncio.wait([publishing], timeout=5)
    assert isinstance(publishing.exception(), ClosedError)
    await asyncio.wait(late, timeout=5)
    assert isinstance(late[0].exception(), ClosedError)
    await never(lambda: len(Shut.asked) > 1)
    assert asyncio.all_tasks() == before
