"""Schemas that need others."""

from __future__ import annotations

import json

from tests.registry.engine.conftest import record, refused
from waybill_schema_registry.engine.engine import Engine, Limits
from waybill_schema_registry.entities import Config, Mode, Reference, Schema
from waybill_schema_registry.levels import Level
from waybill_schema_registry.stores.memory import MemoryStore


def using(*used: tuple[str, str, int], name: str = "Order") -> Schema:
    """A record with a field of each type: its name, and the subject and version that define it."""
    fields = [{"name": type_.lower(), "type": type_} for type_, _, _ in used]
    return Schema(
        text=json.dumps({"type": "record", "name": name, "fields": fields}),
        references=tuple(Reference(name=type_, subject=subject, version=version) for type_, subject, version in used),
    )


async def test_a_schema_may_need_another(engine: Engine) -> None:
    vat = await engine.register("vat", record("rate", name="Vat"))
    made = await engine.register("orders", using(("Vat", "vat", 1)))
    assert made.schema.references == (Reference(name="Vat", subject="vat", version=1),)
    assert await engine.referenced_by("vat", 1) == [made.id] == await engine.referenced_by("vat", "latest")
    assert await engine.referenced_by("orders", 1) == []
    assert '"rate"' in await engine.resolved(made)
    assert await engine.resolved(vat) == vat.schema.text
    assert await engine.resolved(await engine.schema(made.id)) == await engine.resolved(made)


async def test_the_latest_is_settled_when_it_is_registered(engine: Engine) -> None:
    await engine.register("vat", record("rate", name="Vat"))
    await engine.register("vat", record("rate", "country?", name="Vat"))
    made = await engine.register("orders", using(("Vat", "vat", -1)))
    assert made.schema.references[0].version == 2
    assert await engine.register("orders", using(("Vat", "vat", -1))) == made
    await engine.register("vat", record("rate", "country?", "city?", name="Vat"))
    assert (await engine.register("orders", using(("Vat", "vat", -1)))).version == 2


async def test_what_is_needed_must_be_there(engine: Engine) -> None:
    with refused(42201, 'No schema reference found for subject "vat" and version 1'):
        await engine.register("orders", using(("Vat", "vat", 1)))
    with refused(42201, 'No schema reference found for subject "vat" and version -1'):
        await engine.register("orders", using(("Vat", "vat", -1)))
    await engine.register("vat", record("rate", name="Vat"))
    with refused(42201, 'No schema reference found for subject "vat" and version 2'):
        await engine.register("orders", using(("Vat", "vat", 2)))
    await engine.delete_version("vat", 1)
    with refused(42201, "No schema reference found"):
        await engine.register("orders", using(("Vat", "vat", 1)))


async def test_what_is_needed_cannot_be_deleted(engine: Engine) -> None:
    await engine.register("vat", record("rate", name="Vat"))
    await engine.register("orders", using(("Vat", "vat", 1)))
    text = "One or more references exist to the schema {magic=1,keytype=SCHEMA,subject=vat,version=1}."
    with refused(42206, text):
        await engine.delete_version("vat", 1)
    with refused(42206, text):
        await engine.delete_subject("vat")
    await engine.delete_subject("orders")
    assert await engine.delete_subject("vat") == [1]
    with refused(42206, text):
        await engine.delete_subject("vat", permanent=True)
    assert await engine.delete_subject("orders", permanent=True) == [1]
    assert await engine.delete_subject("vat", permanent=True) == [1]


async def test_versions_of_one_subject_that_need_each_other_go_together(engine: Engine) -> None:
    await engine.register("orders", record("a"))
    await engine.register("orders", using(("Order", "orders", 1), name="Whole"), force=True)
    with refused(42206):
        await engine.delete_version("orders", 1)
    assert await engine.delete_subject("orders") == [1, 2]
    assert await engine.delete_subject("orders", permanent=True) == [1, 2]
    assert await engine.subjects(deleted=True) == []


async def test_what_is_needed_indirectly_comes_along(engine: Engine) -> None:
    await engine.register("country", record("code", name="Country"))
    await engine.register("vat", using(("Country", "country", 1), name="Vat"))
    made = await engine.register("orders", using(("Vat", "vat", 1), ("Country", "country", 1)))
    resolved = await engine.resolved(made)
    assert '"code"' in resolved
    assert (await engine.lookup("orders", using(("Vat", "vat", 1), ("Country", "country", 1)))) == made


async def test_a_schema_whose_references_were_put_in_is_the_same(engine: Engine) -> None:
    await engine.register("vat", record("rate", name="Vat"))
    made = await engine.register("orders", using(("Vat", "vat", 1)))
    whole = Schema(text=await engine.resolved(made))
    assert await engine.lookup("orders", whole) == made
    assert await engine.register("orders", whole) == made


async def test_references_are_sorted_and_single_when_normalized(engine: Engine) -> None:
    await engine.register("vat", record("rate", name="Vat"))
    await engine.register("country", record("code", name="Country"))
    one = using(("Vat", "vat", 1), ("Country", "country", 1))
    twice = Schema(text=one.text, references=(*one.references, *one.references[::-1]))
    made = await engine.register("orders", twice, normalize=True)
    assert [reference.name for reference in made.schema.references] == ["Country", "Vat"]


async def test_a_reference_stays_in_its_context_unless_it_names_one(engine: Engine) -> None:
    await engine.register("vat", record("rate", name="Vat"))
    with refused(42201, "No schema reference found"):
        await engine.register(":.eu:orders", using(("Vat", "vat", 1)))
    await engine.register(":.eu:vat", record("percent", name="Vat"))
    here = await engine.register(":.eu:orders", using(("Vat", "vat", 1)))
    there = await engine.register("orders", using(("Vat", "vat", 1)))
    assert here.guid == there.guid
    assert '"percent"' in await engine.resolved(here)
    assert '"rate"' in await engine.resolved(there)
    assert await engine.referenced_by(":.eu:vat", 1) == [here.id]
    across = await engine.register("lines", using(("Vat", ":.eu:vat", 1)))
    assert '"percent"' in await engine.resolved(across)
    with refused(42206):
        await engine.delete_subject(":.eu:vat")


async def test_compatibility_looks_into_references(engine: Engine) -> None:
    await engine.register("vat", record("rate", name="Vat"))
    await engine.register("vat", record("rate", "country", name="Vat"), force=True)
    await engine.register("orders", using(("Vat", "vat", 1)))
    verdict = await engine.compatible("orders", using(("Vat", "vat", 2)))
    assert not verdict.compatible
    assert "'country'" in verdict.messages[0]


async def test_the_same_reference_means_two_things_in_two_contexts(engine: Engine) -> None:
    for context, field in (("", "rate"), (":.eu:", "percent")):
        await engine.register(f"{context}vat", record(field, name="Vat"))
        await engine.register(f"{context}vat", record("rate", "x", name="Vat"), force=True)
        await engine.register(f"{context}orders", using(("Vat", "vat", 1)))
    plain = await engine.compatible("orders", using(("Vat", "vat", 2)))
    eu = await engine.compatible(":.eu:orders", using(("Vat", "vat", 2)))
    assert "'rate'" not in "".join(plain.messages[:-3])
    assert "'rate'" in "".join(eu.messages[:-3])


async def test_a_long_chain_of_references() -> None:
    async with Engine(MemoryStore(), limits=Limits(references=40)) as engine:
        await engine.register("s0", record("a", name="T0"))
        for number in range(1, 41):
            used = (f"T{number - 1}", f"s{number - 1}", 1)
            await engine.register(f"s{number}", using(used, name=f"T{number}"))
        with refused(42201, "Too many references"):
            await engine.register("s41", using(("T40", "s40", 1), name="T41"))


async def test_deleted_and_registered_again_while_it_is_needed(engine: Engine) -> None:
    """The old version stays where something needs it, and the new one has the same id."""
    first = await engine.register("vat", record("rate", name="Vat"))
    await engine.register("orders", using(("Vat", "vat", 1)))
    await engine.delete_subject("orders")
    await engine.delete_version("vat", 1)
    again = await engine.register("vat", record("rate", name="Vat"))
    assert (again.id, again.version) == (first.id, 2)
    assert [each.version for each in await engine.versions("vat", deleted=True)] == [1, 2]
    order = await engine.version("orders", 1, deleted=True)
    assert '"rate"' in await engine.resolved(order)


async def test_what_was_deleted_with_what_it_needs_can_be_looked_up(engine: Engine) -> None:
    await engine.register("vat", record("rate", name="Vat"))
    made = await engine.register("orders", using(("Vat", "vat", 1)))
    await engine.delete_subject("orders")
    await engine.delete_subject("vat")
    assert (await engine.lookup("orders", using(("Vat", "vat", 1)), deleted=True)).id == made.id
    with refused(42201, "No schema reference found"):
        await engine.register("orders", using(("Vat", "vat", 1)))


async def test_a_name_that_no_store_could_hold_is_refused(engine: Engine) -> None:
    await engine.register("vat", record("rate", name="Vat"))
    refers = (Reference(name="Vat\x00", subject="vat", version=1),)
    with refused(42201, "control characters"):
        await engine.register("orders", Schema(text='"string"', references=refers))


async def test_what_a_schema_that_stays_needs_is_not_cleared_for_an_import(engine: Engine) -> None:
    await engine.set_config(Config(compatibility=Level.NONE))
    await engine.register("s", record("a", name="Vat"))
    await engine.register("s", using(("Vat", "s", 1), name="Line"))
    await engine.register("s", record("b", name="Alone"))
    await engine.register("t", using(("Line", "s", 2)))
    await engine.register("u", using(("Vat", "s", 1), name="Line"))
    for subject in ("t", "u", "s"):
        await engine.delete_subject(subject)
    await engine.set_mode(Mode.IMPORT, "s")
    assert [found.version for found in await engine.versions("s", deleted=True)] == [1, 2]
    await engine.delete_subject("t", permanent=True)
    await engine.delete_mode("s")
    await engine.set_mode(Mode.IMPORT, "s")
    assert [found.version for found in await engine.versions("s", deleted=True)] == [1], "u is the same schema as 2"
