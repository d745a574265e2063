"""A schema becomes a version, or is found to be one."""

from __future__ import annotations

import json

import pytest

from tests.registry.engine.conftest import record, refused
from waybill_schema_registry.engine.engine import Engine, Limits
from waybill_schema_registry.entities import Config, Metadata, Mode, Rule, RuleSet, Schema
from waybill_schema_registry.errors import Incompatible
from waybill_schema_registry.levels import Level
from waybill_schema_registry.stores.memory import MemoryStore


async def test_ids_and_versions_count_from_one(engine: Engine) -> None:
    one = await engine.register("orders", record("a"))
    two = await engine.register("orders", record("a", "b?"))
    other = await engine.register("lines", record("c"))
    assert [(each.subject, each.version, each.id) for each in (one, two, other)] == [
        ("orders", 1, 1),
        ("orders", 2, 2),
        ("lines", 1, 3),
    ]
    assert (await engine.version("orders", "latest")) == two == (await engine.version("orders", -1))


async def test_the_same_again_is_the_same_and_writes_nothing(engine: Engine, memory) -> None:
    first = await engine.register("orders", record("a"))
    revision = len(memory.log)
    again = await engine.register("orders", record("a"))
    spaced = await engine.register("orders", Schema(text=json.dumps(json.loads(record("a").text), indent=4)))
    assert first == again == spaced
    assert len(memory.log) == revision


async def test_the_same_text_under_another_subject_has_the_same_id(engine: Engine) -> None:
    one = await engine.register("orders", record("a"))
    await engine.register("x", record("z"))
    other = await engine.register("lines", record("a"))
    assert (other.id, other.version, other.guid) == (one.id, 1, one.guid)
    assert await engine.subjects_of(one.id) == ["lines", "orders"]


async def test_an_older_version_is_found_too(engine: Engine) -> None:
    first = await engine.register("orders", record("a"))
    await engine.register("orders", record("a", "b?"))
    assert await engine.register("orders", record("a")) == first


async def test_what_does_not_go_together_is_refused_with_the_reason(engine: Engine) -> None:
    await engine.register("orders", record("a"))
    with refused(
        40901, 'Schema being registered is incompatible with an earlier schema for subject "orders", details: ['
    ):
        await engine.register("orders", record("a", "b"))
    with pytest.raises(Incompatible) as caught:
        await engine.register("orders", record("a", "b"))
    assert caught.value.report is not None
    assert [found.type for found in caught.value.report.incompatibilities] == ["READER_FIELD_MISSING_DEFAULT_VALUE"]
    assert caught.value.report.steps[0].version == 1
    assert "{oldSchemaVersion: 1}" in str(caught.value)
    assert "{validateFields: 'false', compatibility: 'BACKWARD'}]" in str(caught.value)
    assert len(await engine.versions("orders")) == 1


async def test_force_checks_nothing(engine: Engine) -> None:
    await engine.register("orders", record("a"))
    assert (await engine.register("orders", record("b"), force=True)).version == 2


@pytest.mark.parametrize("text", ["", "  ", "{", '"nope"', '{"type": "record"}', "null", "1" * 5000, "[" * 100_000])
async def test_what_is_no_schema_is_refused(engine: Engine, text: str) -> None:
    with refused(42201):
        await engine.register("orders", Schema(text=text))
    assert await engine.subjects() == []
    assert await engine.max_id() == 0


async def test_a_format_that_is_not_known_is_refused(engine: Engine) -> None:
    with refused(42201, "Invalid schema type PROTOBUF"):
        await engine.register("orders", Schema(text="x", format="PROTOBUF"))
    assert engine.types() == ["AVRO"]


async def test_what_is_too_large_is_refused() -> None:
    async with Engine(MemoryStore(), limits=Limits(schema=100)) as engine:
        with refused(42209, "too large"):
            await engine.register("orders", record("a" * 100))
        await engine.register("orders", Schema(text='"int"'))


async def test_more_versions_than_are_taken() -> None:
    async with Engine(MemoryStore(), level=Level.NONE, limits=Limits(versions=2)) as engine:
        await engine.register("orders", record("a"))
        await engine.register("orders", record("b"))
        with refused(42205, "delete old ones"):
            await engine.register("orders", record("c"))
        assert (await engine.register("orders", record("a"))).version == 1
        await engine.delete_version("orders", 1)
        await engine.delete_version("orders", 1, permanent=True)
        assert (await engine.register("orders", record("c"))).version == 3


async def test_normalized_and_as_it_is(engine: Engine) -> None:
    odd = Schema(text='{"type": "record", "name": "Order", "aliases": ["z", "b"], "fields": []}')
    plain = await engine.register("plain", odd)
    normal = await engine.register("normal", odd, normalize=True)
    assert '["z","b"]' in plain.schema.text
    assert '["b","z"]' in normal.schema.text
    assert normal.id != plain.id
    assert await engine.lookup("normal", odd, normalize=True) == normal
    with refused(40403):
        await engine.lookup("normal", odd)
    await engine.set_config(Config(normalize=True), "configured")
    assert (await engine.register("configured", odd)).id == normal.id
    assert (await engine.lookup("configured", odd)).id == normal.id


async def test_an_explicit_version_must_be_the_next(engine: Engine) -> None:
    assert (await engine.register("orders", record("a"), version=1)).version == 1
    with refused(42201, "Version is not one more than previous version"):
        await engine.register("orders", record("a", "b?"), version=3)
    assert (await engine.register("orders", record("a", "b?"), version=2)).version == 2


async def test_an_id_is_taken_in_import_only(engine: Engine) -> None:
    with refused(42205, "is not in import mode"):
        await engine.register("orders", record("a"), id=7)
    await engine.set_mode(Mode.IMPORT)
    with refused(42205, "is not in read-write mode"):
        await engine.register("orders", record("a"))
    made = await engine.register("orders", record("a"), id=7, version=3)
    assert (made.id, made.version) == (7, 3)
    assert (await engine.register("orders", record("zz"), id=5, version=1)).id == 5
    with refused(42205, "Overwrite new schema with id 7 in context  is not permitted."):
        await engine.register("orders", record("b"), id=7, version=4)
    with refused(42207, "stands under id 7"):
        await engine.register("orders", record("a"), id=8, version=4)
    await engine.set_mode(Mode.READWRITE)
    made = await engine.register("lines", record("b"))
    assert (made.id, made.version) == (8, 1), "ids go on after the highest"
    assert [each.version for each in await engine.versions("orders")] == [1, 3]
    assert (await engine.register("orders", record("a", "b?"))).version == 4


async def test_an_import_may_set_a_version_anew(engine: Engine) -> None:
    await engine.set_mode(Mode.IMPORT)
    await engine.register("orders", record("a"), id=1, version=1)
    await engine.register("orders", record("b"), id=2, version=1)
    assert (await engine.version("orders", 1)).id == 2
    with refused(40403):
        await engine.schema(1)


async def test_an_id_that_is_too_large_is_refused(engine: Engine) -> None:
    await engine.set_mode(Mode.IMPORT)
    with refused(42207):
        await engine.register("orders", record("a"), id=2**31, version=1)
    await engine.register("orders", record("a"), id=2**31 - 1, version=1)
    await engine.set_mode(Mode.READWRITE)
    with refused(42205, "No id is left"):
        await engine.register("orders", record("b?"))


async def test_an_empty_text_is_the_latest_with_other_metadata(engine: Engine) -> None:
    first = await engine.register("orders", record("a"))
    second = await engine.register("orders", Schema(text="", metadata=Metadata(properties={"owner": "billing"})))
    assert second.version == 2
    assert second.schema.text == first.schema.text
    assert second.schema.metadata == Metadata(properties={"owner": "billing"})
    with refused(42201, "Empty schema"):
        await engine.register("other", Schema(text=""))


async def test_metadata_of_the_version_before_are_taken_on(engine: Engine) -> None:
    await engine.register("orders", record("a", metadata=Metadata(properties={"owner": "billing"})))
    second = await engine.register("orders", record("a", "b?"))
    assert second.schema.metadata == Metadata(properties={"owner": "billing"})
    assert await engine.lookup("orders", record("a", "b?")) == second
    assert await engine.register("orders", record("a", "b?")) == second


async def test_defaults_and_overrides_of_the_config(engine: Engine) -> None:
    config = Config(
        default_metadata=Metadata(properties={"owner": "nobody", "tier": "1"}),
        override_metadata=Metadata(properties={"checked": "yes"}),
        default_rule_set=RuleSet(domain_rules=[Rule(name="r", type="CEL")]),
    )
    await engine.set_config(config, "orders")
    made = await engine.register(
        "orders", record("a", metadata=Metadata(properties={"owner": "billing", "checked": "no"}))
    )
    assert made.schema.metadata is not None
    assert made.schema.metadata.properties == {"checked": "yes", "owner": "billing", "tier": "1"}
    assert made.schema.rules == config.default_rule_set
    again = await engine.register("orders", record("a", metadata=Metadata(properties={"owner": "billing"})))
    assert again == made


async def test_the_version_in_the_metadata(engine: Engine) -> None:
    made = await engine.register("orders", record("a"), version=-1)
    assert made.schema.metadata == Metadata(properties={"confluent:version": "1"})
    assert await engine.lookup("orders", record("a")) == made
    assert await engine.register("orders", record("a")) == made
    second = await engine.register("orders", record("a", "b?"))
    assert second.schema.metadata == Metadata(properties={"confluent:version": "2"})
    assert await engine.lookup("orders", record("a")) == made


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        (RuleSet(domain_rules=[Rule(name="r", type="CEL"), Rule(name="r", type="CEL")]), "duplicate name 'r'"),
        (RuleSet(domain_rules=[Rule(type="CEL")]), "Empty rule name"),
        (RuleSet(domain_rules=[Rule(name="1r", type="CEL")]), "Illegal initial character"),
        (RuleSet(domain_rules=[Rule(name="r r", type="CEL")]), "Illegal character"),
        (RuleSet(domain_rules=[Rule(name="r")]), "Missing rule type"),
        (RuleSet(domain_rules=[Rule(name="r", type="CEL", mode="UPGRADE")]), "Domain rules can only be"),
        (RuleSet(migration_rules=[Rule(name="r", type="CEL", mode="WRITE")]), "Migration rules can only be"),
    ],
)
async def test_rules_that_are_refused(engine: Engine, rules: RuleSet, text: str) -> None:
    with refused(42210, text):
        await engine.register("orders", record("a", rules=rules))
    with refused(42210, text):
        await engine.set_config(Config(default_rule_set=rules))
