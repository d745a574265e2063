"""Configs and modes, and what they hold for."""

from __future__ import annotations

import pytest

from tests.registry.engine.conftest import record, refused
from waybill_schema_registry.engine.engine import Engine
from waybill_schema_registry.entities import Config, Mode
from waybill_schema_registry.levels import Level
from waybill_schema_registry.stores.memory import MemoryStore


async def level(engine: Engine, scope: str | None) -> Level | None:
    return (await engine.config(scope, default_to_global=True)).compatibility


async def test_the_level_that_holds_is_the_nearest_that_was_set(engine: Engine) -> None:
    assert await engine.config() == Config(compatibility=Level.BACKWARD)
    wide = [
        (":.__GLOBAL:", Level.FORWARD, (Level.FORWARD, Level.FORWARD)),
        (None, Level.FULL, (Level.FULL, Level.FORWARD)),
        (":.eu:", Level.NONE, (Level.FULL, Level.NONE)),
        ("orders", Level.BACKWARD_TRANSITIVE, (Level.BACKWARD_TRANSITIVE, Level.NONE)),
        (":.eu:orders", Level.FULL_TRANSITIVE, (Level.BACKWARD_TRANSITIVE, Level.FULL_TRANSITIVE)),
    ]
    for scope, wanted, expected in wide:
        await engine.set_config(Config(compatibility=wanted), scope)
        assert (await level(engine, "orders"), await level(engine, ":.eu:orders")) == expected, scope
    for scope, _, _ in wide[::-1]:
        await engine.delete_config(scope)
    assert (await level(engine, "orders"), await level(engine, ":.eu:orders")) == (Level.BACKWARD, Level.BACKWARD)


async def test_the_default_level_is_the_servers() -> None:
    async with Engine(MemoryStore(), level=Level.NONE) as engine:
        assert await engine.config() == Config(compatibility=Level.NONE)
        await engine.register("orders", record("a"))
        assert (await engine.register("orders", record("b"))).version == 2


async def test_each_setting_comes_from_where_it_was_said(engine: Engine) -> None:
    await engine.set_config(Config(normalize=True))
    await engine.set_config(Config(compatibility=Level.FULL), "orders")
    assert await engine.config("orders") == Config(compatibility=Level.FULL)
    merged = await engine.config("orders", default_to_global=True)
    assert (merged.compatibility, merged.normalize) == (Level.FULL, True)
    assert await engine.config() == Config(compatibility=Level.BACKWARD, normalize=True)


async def test_a_config_is_changed_setting_by_setting(engine: Engine) -> None:
    await engine.set_config(Config(compatibility=Level.FULL, alias="x"), "orders")
    assert await engine.set_config(Config(normalize=True), "orders") == Config(
        compatibility=Level.FULL, alias="x", normalize=True
    )
    assert await engine.delete_config("orders") == Config(compatibility=Level.FULL, alias="x", normalize=True)


async def test_where_no_config_is(engine: Engine) -> None:
    with refused(40408, "Subject 'orders' does not have subject-level compatibility configured"):
        await engine.config("orders")
    with refused(40401, "Subject 'orders' not found."):
        await engine.delete_config("orders")
    assert await engine.delete_config() == Config(compatibility=Level.BACKWARD)


async def test_configs_that_are_refused(engine: Engine) -> None:
    with refused(42208):
        await engine.set_config(Config(normalize=True), "a\nb")
    with refused(42203):
        await engine.set_config(Config(compatibility_policy="LOOSE"), "orders")
    await engine.set_mode(Mode.READONLY)
    with refused(42205):
        await engine.set_config(Config(normalize=True), "orders")


async def test_modes(engine: Engine) -> None:
    assert await engine.mode() is Mode.READWRITE
    with refused(40409, "Subject 'orders' does not have subject-level mode configured"):
        await engine.mode("orders")
    assert await engine.mode("orders", default_to_global=True) is Mode.READWRITE
    await engine.set_mode(Mode.READONLY, "orders")
    assert await engine.mode("orders") is Mode.READONLY
    assert await engine.delete_mode("orders") is Mode.READONLY
    with refused(40401):
        await engine.delete_mode("orders")
    await engine.set_mode(Mode.IMPORT, ":.eu:")
    assert await engine.mode(":.eu:orders", default_to_global=True) is Mode.IMPORT
    assert await engine.mode("orders", default_to_global=True) is Mode.READWRITE


async def test_where_nothing_may_be_written(engine: Engine) -> None:
    first = await engine.register("orders", record("a"))
    await engine.set_mode(Mode.READONLY)
    with refused(42205, "Subject orders in context  is in read-only mode"):
        await engine.register("orders", record("a", "b?"))
    with refused(42205, "Subject :.eu:x in context :.eu: is in read-only mode"):
        await engine.set_mode(Mode.READONLY, ":.eu:")
        await engine.register(":.eu:x", record("a"))
    assert await engine.register("orders", record("a")) == first, "nothing is written for what is there"
    await engine.set_mode(Mode.READWRITE, "orders")
    assert (await engine.register("orders", record("a", "b?"))).version == 2


async def test_a_wider_override_beats_a_narrower_mode(engine: Engine) -> None:
    await engine.set_mode(Mode.READWRITE, "orders")
    await engine.set_mode(Mode.READONLY_OVERRIDE)
    with refused(42205):
        await engine.register("orders", record("a"))


async def test_an_import_begins_on_empty_ground(engine: Engine) -> None:
    await engine.register("orders", record("a"))
    await engine.register("lines", record("a"))
    await engine.register(":.eu:orders", record("a"))
    with refused(42205, "Cannot import since found existing subjects"):
        await engine.set_mode(Mode.IMPORT, "orders")
    await engine.delete_subject("orders")
    await engine.delete_subject("lines")
    await engine.set_mode(Mode.IMPORT, "orders")
    assert await engine.subjects(deleted=True) == [":.eu:orders", "lines"]
    with refused(42205):
        await engine.set_mode(Mode.IMPORT)
    await engine.set_mode(Mode.IMPORT, force=True)
    assert await engine.subjects(deleted=True) == [":.eu:orders", "lines"]
    await engine.delete_mode()
    await engine.delete_subject(":.eu:orders")
    await engine.set_mode(Mode.IMPORT)
    assert await engine.subjects(deleted=True) == []
    with refused(40403):
        await engine.schema(1)


async def test_forward_is_for_all_only(engine: Engine) -> None:
    for scope in (None, "orders", ":.eu:"):
        with refused(42204, "Invalid mode."):
            await engine.set_mode(Mode.FORWARD, scope)
    await engine.set_mode(Mode.FORWARD, ":.__GLOBAL:")
    assert await engine.mode("orders", default_to_global=True) is Mode.FORWARD
    assert (await engine.register("orders", record("a"), id=5, version=1)).id == 5


async def test_modes_of_a_context_go_together_if_asked(engine: Engine) -> None:
    for scope in (":.eu:", ":.eu:a", ":.eu:b", "c"):
        await engine.set_mode(Mode.READONLY, scope)
    assert await engine.delete_mode(":.eu:", recursive=True) is Mode.READONLY
    for scope in (":.eu:", ":.eu:a", ":.eu:b"):
        with refused(40409):
            await engine.mode(scope)
    assert await engine.mode("c") is Mode.READONLY


@pytest.mark.parametrize("scope", ["a\nb", "__GLOBAL", ":*:a"])
async def test_scopes_that_are_refused(engine: Engine, scope: str) -> None:
    with refused(42208):
        await engine.set_mode(Mode.READONLY, scope)
