"""Whether a schema may follow."""

from __future__ import annotations

import pytest

from tests.registry.engine.conftest import record, refused
from waybill_schema_registry.engine.engine import Engine
from waybill_schema_registry.entities import Config, Metadata, Schema
from waybill_schema_registry.levels import Level


async def history(engine: Engine, *fields: tuple[str, ...]) -> None:
    for some in fields:
        await engine.register("orders", record(*some), force=True)


@pytest.mark.parametrize(
    ("level", "fields", "expected"),
    [
        (Level.NONE, ("z",), True),
        (Level.BACKWARD, ("a", "b?"), True),
        (Level.BACKWARD, ("a", "b", "c"), False),
        (Level.BACKWARD_TRANSITIVE, ("a", "b"), False),
        (Level.FORWARD, ("a", "b", "c"), True),
        (Level.FORWARD, ("b",), False),
        (Level.FORWARD_TRANSITIVE, ("a", "b", "c"), True),
        (Level.FULL, ("a", "b"), True),
        (Level.FULL, ("a", "b", "c?"), True),
        (Level.FULL, ("a",), False),
        (Level.FULL_TRANSITIVE, ("a", "b"), False),
    ],
)
async def test_levels(engine: Engine, level: Level, fields: tuple[str, ...], expected: bool) -> None:
    """After `a`, and then `a, b`."""
    await history(engine, ("a",), ("a", "b"))
    await engine.set_config(Config(compatibility=level), "orders")
    verdict = await engine.compatible("orders", record(*fields))
    assert verdict.compatible is expected, verdict.messages
    assert bool(verdict.messages) is not expected


async def test_one_version_is_looked_at_alone_even_at_a_transitive_level(engine: Engine) -> None:
    await history(engine, ("a",), ("a", "b"))
    await engine.set_config(Config(compatibility=Level.BACKWARD_TRANSITIVE), "orders")
    assert (await engine.compatible("orders", record("a", "b"), 2)).compatible
    assert (await engine.compatible("orders", record("a", "b"), "latest")).compatible
    assert not (await engine.compatible("orders", record("a", "b"), 1)).compatible


async def test_versions_that_are_not_there(engine: Engine) -> None:
    assert (await engine.compatible("orders", record("a"), "latest")).compatible
    assert (await engine.compatible("orders", record("a"))).compatible
    with refused(40402, "Version 1 not found."):
        await engine.compatible("orders", record("a"), 1)
    await history(engine, ("a",))
    await engine.delete_version("orders", 1)
    with refused(40402):
        await engine.compatible("orders", record("z"), 1)
    assert (await engine.compatible("orders", record("z"), -1)).compatible, "what went is not compared with"


async def test_a_bad_schema_is_refused_or_a_message(engine: Engine) -> None:
    verdict = await engine.compatible("orders", Schema(text="{"), "latest")
    assert not verdict.compatible
    assert len(verdict.messages) == 1
    with refused(42201):
        await engine.compatible("orders", Schema(text="{"), "latest", verbose=False)


async def test_of_a_history_the_newest_that_fails_is_reported(engine: Engine) -> None:
    await history(engine, ("a",), ("a", "b"), ("a", "b", "c"))
    await engine.set_config(Config(compatibility=Level.BACKWARD_TRANSITIVE), "orders")
    verdict = await engine.compatible("orders", record("a", "b", "c", "d"))
    assert "{oldSchemaVersion: 3}" in verdict.messages
    verdict = await engine.compatible("orders", record("a", "b", "c"))
    assert "{oldSchemaVersion: 2}" in verdict.messages
    assert verdict.report is not None
    assert [step.version for step in verdict.report.steps] == [2]


async def test_both_directions_are_reported_forward_first(engine: Engine) -> None:
    await history(engine, ("a",))
    await engine.set_config(Config(compatibility=Level.FULL), "orders")
    verdict = await engine.compatible("orders", record("b"))
    assert ["'a'" in verdict.messages[0], "'b'" in verdict.messages[1]] == [True, True]
    assert verdict.messages[0].startswith(
        "{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'a' at"
    )
    assert "in the old schema has no default value and is missing in the new schema" in verdict.messages[0]
    assert verdict.messages[-1] == "{validateFields: 'false', compatibility: 'FULL'}"


async def test_a_group_is_compared_within_itself(engine: Engine) -> None:
    await engine.set_config(Config(compatibility_group="major"), "orders")

    def of(major: str, *fields: str) -> Schema:
        return record(*fields, metadata=Metadata(properties={"major": major}))

    await engine.register("orders", of("1", "a"))
    await engine.register("orders", of("2", "z"))
    assert (await engine.register("orders", of("1", "a", "b?"))).version == 3
    with refused(40901):
        await engine.register("orders", of("1", "a", "c"))
    with refused(40901, "oldSchemaVersion: 2"):
        await engine.register("orders", of("2", "z", "c"))


async def test_reserved_names_stay_reserved(engine: Engine) -> None:
    await engine.set_config(Config(validate_fields=True), "orders")
    await engine.register("orders", record("a", metadata=Metadata(properties={"confluent:reserved": "old, older"})))
    removed = record("a", "b?", metadata=Metadata(properties={"confluent:reserved": "old"}))
    with refused(40901, "The new schema has reserved field older removed from its metadata"):
        await engine.register("orders", removed)
    await engine.register("orders", record("a", "b?"))


async def test_a_verdict_is_the_same_the_second_time(engine: Engine) -> None:
    await history(engine, ("a",), ("a", "b"))
    first = await engine.compatible("orders", record("c"))
    assert await engine.compatible("orders", record("c")) == first
    await engine.set_config(Config(compatibility=Level.NONE), "orders")
    assert (await engine.compatible("orders", record("c"))).compatible
