"""Softly at first, then for good."""

from __future__ import annotations

from tests.registry.engine.conftest import record, refused
from waybill_schema_registry.engine.engine import Engine
from waybill_schema_registry.entities import Config, Mode
from waybill_schema_registry.levels import Level


async def numbers(engine: Engine, subject: str, **more: bool) -> list[int]:
    return [each.version for each in await engine.versions(subject, **more)]


async def three(engine: Engine, subject: str = "orders") -> None:
    for fields in (("a",), ("a", "b?"), ("a", "b?", "c?")):
        await engine.register(subject, record(*fields))


async def test_a_version_goes_softly_and_then_for_good(engine: Engine) -> None:
    await three(engine)
    assert await engine.delete_version("orders", 2) == 2
    assert await numbers(engine, "orders") == [1, 3]
    assert await numbers(engine, "orders", deleted=True) == [1, 2, 3]
    assert await numbers(engine, "orders", deleted_only=True) == [2]
    with refused(40402, "Version 2 not found."):
        await engine.version("orders", 2)
    assert (await engine.version("orders", 2, deleted=True)).deleted
    assert (await engine.schema(2)).schema.text
    with refused(40406, "Subject 'orders' Version 2 was soft deleted.Set permanent=true to delete permanently"):
        await engine.delete_version("orders", 2)
    assert await engine.delete_version("orders", 2, permanent=True) == 2
    assert await numbers(engine, "orders", deleted=True) == [1, 3]
    with refused(40402):
        await engine.delete_version("orders", 2, permanent=True)
    with refused(40403, "Schema 2 not found"):
        await engine.schema(2)


async def test_for_good_only_what_went_softly(engine: Engine) -> None:
    await three(engine)
    with refused(40407, "Subject 'orders' Version 1 was not deleted first before being permanently deleted"):
        await engine.delete_version("orders", 1, permanent=True)
    with refused(40405, "Subject 'orders' was not deleted first before being permanently deleted"):
        await engine.delete_subject("orders", permanent=True)
    assert await numbers(engine, "orders") == [1, 2, 3]


async def test_the_latest_is_the_last_that_is_not_deleted(engine: Engine) -> None:
    await three(engine)
    assert await engine.delete_version("orders", "latest") == 3
    assert await engine.delete_version("orders", -1) == 2
    assert (await engine.version("orders", "latest")).version == 1
    assert await engine.delete_version("orders", "latest") == 1
    with refused(40402, "Version -1 not found."):
        await engine.delete_version("orders", "latest")
    with refused(40401):
        await engine.version("orders", "latest")


async def test_a_subject_goes_softly_and_then_for_good(engine: Engine) -> None:
    await three(engine)
    await engine.delete_version("orders", 1)
    assert await engine.delete_subject("orders") == [2, 3]
    assert await engine.subjects() == []
    assert await engine.subjects(deleted=True) == ["orders"] == await engine.subjects(deleted_only=True)
    with refused(40404, "Subject 'orders' was soft deleted.Set permanent=true to delete permanently"):
        await engine.delete_subject("orders")
    for ask in (engine.versions("orders"), engine.version("orders", 1), engine.lookup("orders", record("a"))):
        with refused(40401, "Subject 'orders' not found."):
            await ask
    assert (await engine.lookup("orders", record("a"), deleted=True)).version == 1
    assert await engine.delete_subject("orders", permanent=True) == [1, 2, 3]
    assert await engine.subjects(deleted=True) == []
    for permanent in (False, True):
        with refused(40401):
            await engine.delete_subject("orders", permanent=permanent)


async def test_what_was_never_there(engine: Engine) -> None:
    with refused(40401, "Subject 'orders' not found."):
        await engine.delete_subject("orders")
    with refused(40401):
        await engine.delete_version("orders", 1)
    await three(engine)
    with refused(40402, "Version 9 not found."):
        await engine.delete_version("orders", 9)
    for wrong in (0, -2, 2**31, "x", "", "1.5", "--1", "९"):
        with refused(42202, 'Allowed values are between [1, 2^31-1] and the string "latest"'):
            await engine.delete_version("orders", wrong)  # type: ignore[arg-type]


async def test_registered_again_after_it_went_softly_it_has_its_id_and_a_new_version(engine: Engine) -> None:
    first = await engine.register("orders", record("a"))
    await engine.delete_subject("orders")
    again = await engine.register("orders", record("a"))
    assert (again.id, again.version) == (first.id, 2)
    assert await numbers(engine, "orders", deleted=True) == [2], "the old one makes room"
    await engine.delete_version("orders", 2)
    other = await engine.register("orders", record("z"))
    assert (other.id, other.version) == (2, 3), (
        "what went softly is not compared with, and its number is not given again"
    )


async def test_an_id_that_is_gone_for_good_is_not_given_again(engine: Engine) -> None:
    await three(engine)
    await engine.delete_subject("orders")
    await engine.delete_subject("orders", permanent=True)
    made = await engine.register("orders", record("a"))
    assert (made.id, made.version) == (4, 1)


async def test_an_id_stands_as_long_as_any_subject_has_it(engine: Engine) -> None:
    await engine.register("orders", record("a"))
    await engine.register("lines", record("a"))
    await engine.delete_subject("orders")
    assert await engine.versions_of(1) == [("lines", 1)]
    assert await engine.versions_of(1, deleted=True) == [("lines", 1), ("orders", 1)]
    await engine.delete_subject("orders", permanent=True)
    assert await engine.versions_of(1, deleted=True) == [("lines", 1)]
    assert (await engine.schema(1)).id == 1
    await engine.delete_subject("lines")
    assert await engine.subjects_of(1) == []
    await engine.delete_subject("lines", permanent=True)
    with refused(40403):
        await engine.subjects_of(1)


async def test_settings_go_with_the_last_version(engine: Engine) -> None:
    await engine.register("orders", record("a"))
    await engine.set_config(Config(normalize=True), "orders")
    await engine.set_mode(Mode.READWRITE, "orders")
    await engine.delete_subject("orders")
    assert (await engine.config("orders")).normalize
    await engine.delete_version("orders", 1, permanent=True)
    with refused(40408):
        await engine.config("orders")
    with refused(40409):
        await engine.mode("orders")


async def test_nothing_goes_where_nothing_may_be_written(engine: Engine) -> None:
    await three(engine)
    await engine.set_mode(Mode.READONLY, "orders")
    for ask in (engine.delete_version("orders", 1), engine.delete_subject("orders")):
        with refused(42205, "Subject orders in context  is in read-only mode"):
            await ask
    assert await numbers(engine, "orders") == [1, 2, 3]


async def test_what_is_set_for_a_context_stays_when_its_empty_subject_goes(engine: Engine) -> None:
    for subject in ("", ":.eu:"):
        await engine.register(subject, record("a"))
        await engine.set_config(Config(compatibility=Level.FULL), subject)
        await engine.delete_subject(subject)
        await engine.delete_subject(subject, permanent=True)
        assert (await engine.config(subject)).compatibility is Level.FULL
