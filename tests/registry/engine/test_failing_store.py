"""A store that fails anywhere: who asked is told, and nothing is lost."""

from __future__ import annotations

import asyncio

from tests.registry.engine.conftest import record, refused
from tests.registry.engine.faulty import Faults, FaultyStore
from waybill_schema_registry.engine.engine import Engine, Limits
from waybill_schema_registry.errors import StoreError
from waybill_schema_registry.stores.memory import Memory, MemoryStore

SCHEMAS = [(f"s{number % 3}", record(*(f"f{n}?" for n in range(number + 1)))) for number in range(6)]


async def registered(engine: Engine) -> int:
    """Register all, each again until it has succeeded; how many failed on the way."""
    failed = 0
    for subject, schema in SCHEMAS:
        for _ in range(5):
            try:
                await engine.register(subject, schema)
                break
            except StoreError:
                failed += 1
    return failed


async def check(memory: Memory) -> None:
    """Whoever opens it afterwards finds all of it, once."""
    async with Engine(MemoryStore(memory)) as engine:
        found = [await engine.lookup(subject, schema) for subject, schema in SCHEMAS]
        assert sorted(each.id for each in found) == list(range(1, len(SCHEMAS) + 1)), "an id was lost, or given twice"
        assert [[each.version for each in await engine.versions(f"s{n}")] for n in range(3)] == [[1, 2]] * 3


async def test_a_store_that_fails_once_in_every_place() -> None:
    """Small caches, so that texts must be fetched."""
    small = Limits(texts=1, parsed=1, known=1)
    wrong: list[str] = []
    number, calls = 0, 1
    while number < calls:
        for kind in ("before", "after"):
            memory, faults = Memory(), Faults()
            async with Engine(FaultyStore(memory, faults), limits=small) as engine:
                getattr(faults, kind).add(faults.calls + number)
                failed = await registered(engine)
                if failed != 1 and faults.calls > number + 1:
                    wrong.append(f"call {number}, {kind}: {failed} failed")
                calls = max(calls, faults.calls)
            await check(memory)
        number += 1
    assert wrong == []
    assert calls > 20


async def test_all_at_once_over_a_store_that_fails_often() -> None:
    for seed in range(6):
        memory = Memory()
        faults = Faults(before=set(range(2 + seed, 4000, 7)), after=set(range(3 + seed, 4000, 11)))
        store = FaultyStore(memory, Faults())
        async with Engine(store) as engine:
            store.faults = faults

            async def persistently(number: int, engine: Engine = engine) -> int:
                for _ in range(300):
                    try:
                        return (await engine.register(f"s{number}", record("a", f"f{number}?"))).id
                    except StoreError:
                        await asyncio.sleep(0)
                raise AssertionError("it never succeeded")

            ids = await asyncio.gather(*(persistently(number) for number in range(30)))
            assert sorted(ids) == list(range(1, 31))
            store.faults = Faults()
            assert len(await engine.subjects()) == 30


async def test_a_store_that_is_down_says_so_and_comes_back() -> None:
    memory = Memory()
    store = FaultyStore(memory, Faults())
    async with Engine(store) as engine:
        first = await engine.register("orders", record("a"))
        store.faults = Faults(before=set(range(10_000)))
        asks = [
            engine.version("orders", 1),
            engine.register("orders", record("b?")),
            engine.subjects(),
            engine.refresh(),
        ]
        found = await asyncio.gather(*asks, return_exceptions=True)
        assert all(isinstance(each, StoreError) for each in found), found
        store.faults = Faults()
        assert await engine.version("orders", 1) == first
        assert (await engine.register("orders", record("a", "b?"))).version == 2


async def test_an_engine_that_cannot_read_its_store_does_not_open() -> None:
    store = FaultyStore(Memory(), Faults(before={0}))
    engine = Engine(store)
    with refused(50001, "revision failed"):
        await engine.open()
    await engine.close()
    await engine.open()
    await engine.close()
    await engine.close()


async def test_a_text_that_is_lost_is_an_error_that_names_it() -> None:
    memory = Memory()
    async with Engine(MemoryStore(memory)) as engine:
        await engine.register("orders", record("a"))
    del memory.schemas[".", 1]
    async with Engine(MemoryStore(memory)) as engine:
        with refused(50001, "lost the text of schema 1"):
            await engine.schema(1)
