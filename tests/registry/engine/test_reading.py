"""What stands there, as it is asked for: by id, GUID, subject, context, metadata."""

from __future__ import annotations

from tests.registry.engine.conftest import record, refused
from waybill_schema_registry.engine.engine import Engine
from waybill_schema_registry.entities import Config, Metadata, Rule, RuleSet, Version


async def test_contexts_have_ids_of_their_own(engine: Engine) -> None:
    one = await engine.register("orders", record("a"))
    eu = await engine.register(":.eu:orders", record("b"))
    assert one.id == eu.id == 1
    assert await engine.contexts() == [".", ".eu"]
    assert await engine.contexts(".e") == [".eu"]
    assert (await engine.schema(1)).schema == one.schema
    assert (await engine.schema(1, subject=":.eu:")).schema == eu.schema
    assert (await engine.schema(1, subject=":.eu:orders")) == eu
    assert (await engine.max_id(), await engine.max_id(":.eu:")) == (1, 1)
    assert await engine.subjects() == [":.eu:orders", "orders"]
    assert await engine.subjects("") == ["orders"]
    assert await engine.subjects(":.eu:") == [":.eu:orders"]
    assert await engine.subjects(":*:ord") == [":.eu:orders", "orders"]


async def test_a_subject_without_a_context_is_searched_in_all(engine: Engine) -> None:
    made = await engine.register(":.eu:orders", record("a"))
    assert await engine.version("orders", 1) == made
    assert await engine.lookup("orders", record("a")) == made
    assert await engine.schema(1, subject="orders") == made
    with refused(40401):
        await engine.version(":.us:orders", 1)
    with refused(40401):
        await engine.versions("orders")


async def test_a_context_goes_when_it_is_empty(engine: Engine) -> None:
    await engine.register(":.eu:orders", record("a"))
    with refused(42211, "The specified context '.eu' is not empty."):
        await engine.delete_context(".eu")
    await engine.delete_subject(":.eu:orders")
    with refused(42211):
        await engine.delete_context(".eu")
    await engine.delete_subject(":.eu:orders", permanent=True)
    assert await engine.contexts() == [".", ".eu"]
    await engine.set_config(Config(normalize=True), ":.eu:")
    await engine.delete_context("eu")
    assert await engine.contexts() == ["."]
    with refused(40408):
        await engine.config(":.eu:")
    await engine.delete_context(".eu")
    with refused(42205):
        await engine.delete_context(".")


async def test_by_id(engine: Engine) -> None:
    made = await engine.register("orders", record("a"))
    await engine.register("lines", record("a"))
    plain = await engine.schema(1)
    assert plain == Version(subject="", version=0, id=1, guid=made.guid, schema=made.schema)
    assert await engine.schema(1, subject="orders") == made
    assert (await engine.schema(1, subject="lines")).subject == "lines"
    assert await engine.schema(1, subject="unknown") == plain
    with refused(40403, "Schema 2 not found"):
        await engine.schema(2)
    with refused(40403):
        await engine.schema(1, subject=":.eu:orders")


async def test_by_guid(engine: Engine) -> None:
    made = await engine.register("orders", record("a"))
    await engine.register(":.eu:x", record("b"))
    await engine.register(":.eu:orders", record("a"))
    assert (await engine.schema_by_guid(made.guid)).schema == made.schema
    assert await engine.ids_of(made.guid) == [(".", 1), (".eu", 2)]
    assert await engine.ids_of(made.guid.upper()) == [(".", 1), (".eu", 2)]
    for ask in (engine.schema_by_guid("x"), engine.ids_of("x")):
        with refused(40403, "Schema x not found"):
            await ask


async def test_lookup(engine: Engine) -> None:
    with refused(40401, "Subject 'orders' not found."):
        await engine.lookup("orders", record("a"))
    made = await engine.register("orders", record("a"))
    assert await engine.lookup("orders", record("a")) == made
    with refused(40403, "Schema not found"):
        await engine.lookup("orders", record("b"))
    with refused(42201):
        await engine.lookup("orders", type(made.schema)(text="{"))


async def test_the_newest_with_metadata(engine: Engine) -> None:
    def owned(owner: str, *fields: str):
        return record(*fields, metadata=Metadata(properties={"owner": owner, "tier": "1"}))

    await engine.register("orders", owned("a", "x"))
    await engine.register("orders", owned("a", "x", "y?"))
    await engine.register("orders", owned("b", "x", "y?", "z?"))
    assert (await engine.latest_with_metadata("orders", {"owner": "a", "tier": "1"})).version == 2
    await engine.delete_version("orders", 2)
    assert (await engine.latest_with_metadata("orders", {"owner": "a"})).version == 1
    assert (await engine.latest_with_metadata("orders", {"owner": "a"}, deleted=True)).version == 2
    with refused(40403):
        await engine.latest_with_metadata("orders", {"owner": "c"})
    with refused(40401):
        await engine.latest_with_metadata("x", {})


async def test_lists_of_schemas(engine: Engine) -> None:
    rules = RuleSet(domain_rules=[Rule(name="r", type="CEL")])
    for subject in ("b", "a", ":.eu:c"):
        await engine.register(subject, record("x"))
        await engine.register(subject, record("x", "y?", rules=rules if subject == "a" else None))
    await engine.delete_version("b", 2)
    await engine.set_config(Config(alias="a"), "also")

    async def listed(prefix: str = ":*:", **more) -> list[tuple[str, int]]:
        return [(each.version.subject, each.version.version) for each in await engine.schemas(prefix, **more)]

    assert await listed() == [(":.eu:c", 1), (":.eu:c", 2), ("a", 1), ("a", 2), ("b", 1)]
    assert await listed("b", deleted=True) == [("b", 1), ("b", 2)]
    assert await listed(latest_only=True) == [(":.eu:c", 2), ("a", 2), ("b", 1)]
    assert await listed(offset=1, limit=2) == [(":.eu:c", 2), ("a", 1)]
    assert await listed(limit=-1, offset=4) == [("b", 1)]
    assert await listed(rule_type="CEL") == [("a", 2)]
    assert [each.aliases for each in await engine.schemas("a", aliases=True)] == [("also",), ("also",)]
    assert (await engine.schemas("a"))[0].version.schema.text


async def test_subjects_that_are_deleted(engine: Engine) -> None:
    for subject in ("a", "b"):
        await engine.register(subject, record("x"))
    await engine.delete_subject("a")
    assert await engine.subjects() == ["b"]
    assert await engine.subjects(deleted=True) == ["a", "b"]
    assert await engine.subjects(deleted_only=True) == ["a"]


async def test_stamps_change_with_what_answers_depend_on(engine: Engine) -> None:
    assert engine.stamp("orders") is None
    await engine.register("orders", record("a"))
    first = engine.stamp("orders")
    await engine.register("orders", record("a"))
    await engine.register("lines", record("a"))
    assert engine.stamp("orders") == first is not None
    seen = {first}
    await engine.register("orders", record("a", "b?"))
    seen.add(engine.stamp("orders"))
    await engine.set_config(Config(normalize=True))
    seen.add(engine.stamp("orders"))
    await engine.delete_version("orders", 1)
    seen.add(engine.stamp("orders"))
    assert len(seen) == 4


async def test_what_stands(engine: Engine) -> None:
    await engine.register("orders", record("a"))
    assert engine.stands(1)
    assert engine.stands(1, "orders")
    assert not engine.stands(2)
    assert not engine.stands(1, ":.eu:")
    await engine.delete_subject("orders")
    assert engine.stands(1)
    await engine.delete_subject("orders", permanent=True)
    assert not engine.stands(1)
