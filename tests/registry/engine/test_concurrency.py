"""Many at once, in one engine and in several over one memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack

import pytest

from tests.registry.engine.conftest import record, refused
from tests.registry.engine.faulty import SlowStore
from waybill_schema_registry.engine import writing
from waybill_schema_registry.engine.engine import Engine, Limits
from waybill_schema_registry.entities import Config, Mode
from waybill_schema_registry.errors import Incompatible, RegistryError
from waybill_schema_registry.levels import Level
from waybill_schema_registry.stores.memory import Memory, MemoryStore


async def several(stack: AsyncExitStack, memory: Memory, count: int, **more) -> list[Engine]:
    return [await stack.enter_async_context(Engine(SlowStore(memory), **more)) for _ in range(count)]


@pytest.mark.parametrize("engines", [1, 3])
async def test_a_hundred_registrations_of_one_schema_give_one_id(memory: Memory, engines: int) -> None:
    async with AsyncExitStack() as stack:
        doors = await several(stack, memory, engines)
        made = await asyncio.gather(*(doors[n % engines].register("orders", record("a")) for n in range(100)))
        assert {(each.id, each.version) for each in made} == {(1, 1)}
        for door in doors:
            assert [each.version for each in await door.versions("orders")] == [1]
    assert len(memory.log) == 1


@pytest.mark.parametrize("engines", [1, 3])
async def test_many_schemas_at_once_have_ids_without_gaps(memory: Memory, engines: int) -> None:
    async with AsyncExitStack() as stack:
        doors = await several(stack, memory, engines)
        made = await asyncio.gather(*(doors[n % engines].register(f"s{n % 7}", record(f"f{n}?")) for n in range(60)))
        assert sorted(each.id for each in made) == list(range(1, 61))
        places = {(each.subject, each.version) for each in made}
        assert len(places) == 60
        for door in doors:
            for each in made:
                assert (await door.schema(each.id)).schema == each.schema


async def test_writes_that_come_while_one_is_under_way_are_committed_together(memory: Memory) -> None:
    async with Engine(store := SlowStore(memory)) as engine:
        await asyncio.gather(*(engine.register(f"s{n}", record("a", f"f{n}?")) for n in range(100)))
        assert store.commits <= 20, "a commit for nearly each of a hundred"


async def test_one_that_is_refused_does_not_touch_the_others(memory: Memory) -> None:
    async with Engine(SlowStore(memory)) as engine:
        await engine.register("orders", record("a"))
        found = await asyncio.gather(
            engine.register("orders", record("a", "b?")),
            engine.register("orders", record("z")),
            engine.delete_subject("unknown"),
            engine.register("lines", record("c")),
            return_exceptions=True,
        )
        kinds = [getattr(each, "code", None) for each in found]
        assert kinds == [None, 40901, 40401, None]
        assert await engine.subjects() == ["lines", "orders"]


async def test_what_is_decided_together_sees_what_is_decided_before(memory: Memory) -> None:
    async with Engine(SlowStore(memory), level=Level.FULL) as engine:
        made = await asyncio.gather(
            *(engine.register("orders", record("a", f"b{n}")) for n in range(10)), return_exceptions=True
        )
        assert [isinstance(each, Incompatible) for each in made].count(False) == 1, "they do not go together"
        made = await asyncio.gather(*(engine.register("lines", record(f"b{n}?")) for n in range(10)))
        assert [each.version for each in made] == list(range(1, 11))


async def test_who_goes_away_does_not_stop_the_others(memory: Memory) -> None:
    async with Engine(SlowStore(memory)) as engine:
        tasks = [asyncio.create_task(engine.register(f"s{n}", record(f"f{n}"))) for n in range(20)]
        for turns, task in enumerate(tasks[::2]):
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        subjects = await engine.subjects()
        assert {f"s{n}" for n in range(1, 20, 2)} <= set(subjects)
        ids = sorted([(await engine.version(subject, 1)).id for subject in subjects])
        assert ids == list(range(1, len(ids) + 1))


async def test_a_reader_who_goes_away_does_not_stop_those_who_wait_with_him(memory: Memory) -> None:
    async with Engine(SlowStore(memory)) as engine:
        await engine.register("orders", record("a"))
        readers = [asyncio.create_task(engine.version("orders", 1)) for _ in range(10)]
        await asyncio.sleep(0)
        readers[0].cancel()
        found = await asyncio.gather(*readers, return_exceptions=True)
        assert [each.id for each in found[1:]] == [1] * 9  # type: ignore[union-attr]


async def test_those_who_read_at_once_share_a_question(memory: Memory) -> None:
    async with Engine(store := SlowStore(memory)) as engine:
        await engine.register("orders", record("a"))
        store.asked = 0
        await asyncio.gather(*(engine.version("orders", 1) for _ in range(100)))
        assert store.asked <= 3


async def test_a_read_sees_all_that_was_committed_before_it_began(memory: Memory) -> None:
    async with AsyncExitStack() as stack:
        one, other = await several(stack, memory, 2)
        noise = [asyncio.create_task(poll(other, 400)) for _ in range(3)]
        for number in range(30):
            made = await one.register("orders", record(*(f"f{n}?" for n in range(number + 1))))
            assert await other.version("orders", "latest") == made
            await one.set_config(Config(compatibility=Level.FULL if number % 2 else Level.BACKWARD))
            config = await other.config()
            assert config.compatibility is (Level.FULL if number % 2 else Level.BACKWARD)
        for task in noise:
            task.cancel()
        await asyncio.gather(*noise, return_exceptions=True)


async def poll(engine: Engine, times: int) -> None:
    for _ in range(times):
        await engine.subjects()


async def test_the_server_decides_anew_where_another_was_faster(memory: Memory) -> None:
    """Each of two engines may add one field: the histories are one, and every version follows the one before it."""
    async with AsyncExitStack() as stack:
        doors = await several(stack, memory, 2, level=Level.FULL)
        made = await asyncio.gather(
            *(doors[n % 2].register("orders", record("a", f"b{n}")) for n in range(10)), return_exceptions=True
        )
        kept = [each for each in made if not isinstance(each, BaseException)]
        assert len(kept) == 1, "the others are incompatible with whichever came first"
        assert all(isinstance(each, Incompatible) for each in made if isinstance(each, BaseException))


async def test_reads_beside_deletions_are_found_or_not_found(memory: Memory) -> None:
    """A text is fetched while its schema goes for good: what is said is what stood before or after."""
    async with AsyncExitStack() as stack:
        small = Limits(texts=1, parsed=1, known=1)
        one, other = await several(stack, memory, 2, limits=small)
        for number in range(20):
            await one.register("orders", record(f"f{number}?"))
            reading = [
                asyncio.create_task(ask)
                for ask in (
                    other.version("orders", "latest"),
                    other.schema(number + 1),
                    other.compatible("orders", record("a")),
                    other.lookup("orders", record(f"f{number}?")),
                    other.register("orders", record(f"f{number}?")),
                    other.schemas(),
                )
            ]
            for _ in range(number % 7):
                await asyncio.sleep(0)
            for permanent in (False, True):
                await allowed(one.delete_subject("orders", permanent=permanent), 40401, 40404, 40405)
            for found in await asyncio.gather(*reading, return_exceptions=True):
                if isinstance(found, BaseException):
                    assert isinstance(found, RegistryError), found
                    assert found.code // 100 == 404, found
            await gone(one)


async def gone(engine: Engine) -> None:
    for permanent in (False, True):
        for subject in await engine.subjects(deleted=True):
            await allowed(engine.delete_subject(subject, permanent=permanent), 40401, 40404)


async def allowed(ask: Awaitable[object], *codes: int) -> None:
    """It succeeds, or is refused with one of these codes."""
    (found,) = await asyncio.gather(ask, return_exceptions=True)
    if isinstance(found, BaseException):
        assert isinstance(found, RegistryError), found
        assert found.code in codes, found


async def test_reading_beside_a_commit_of_ones_own_forgets_nothing(memory: Memory) -> None:
    """The store's answer may be older than what was committed meanwhile."""
    async with Engine(SlowStore(memory)) as engine:
        await engine.register("orders", record("a"))
        before = engine.stamp("orders")
        await asyncio.gather(
            *(poll(engine, 30) for _ in range(5)), *(engine.register(f"s{n}", record(f"f{n}")) for n in range(30))
        )
        assert engine.stamp("orders") == before


async def test_a_store_that_was_put_back_is_read_anew() -> None:
    memory = Memory()
    async with Engine(MemoryStore(memory)) as engine, Engine(MemoryStore(memory)) as other:
        await engine.register("a", record("a"))
        await engine.register("b", record("b"))
        await other.set_mode(Mode.READONLY, "c")
        store = MemoryStore(Memory())
        await store.commit(0, list(memory.log[0][:0]))
        memory.log[:] = memory.log[:1]
        assert await engine.subjects() == ["a"]
        with refused(40409):
            await other.mode("c")


async def test_what_takes_long_to_decide_is_committed_bit_by_bit(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "BUSY", -1.0)  # each takes too long
    async with Engine(store := SlowStore(memory)) as engine:
        made = await asyncio.gather(*(engine.register(f"s{n}", record(f"f{n}")) for n in range(20)))
        assert [each.id for each in made] == list(range(1, 21)), "first come, first served"
        assert store.commits == 20
