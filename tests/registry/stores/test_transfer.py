"""Dumps of Confluent's topic: read as its registry reads them, checked wholly before anything is written, and written again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.registry.stores.postgres import opened
from tests.registry.stores.postgres import schema as postgres_schema
from waybill_contracts.registry.trial import state_of
from waybill_schema_registry.engine.engine import Engine
from waybill_schema_registry.entities import Mode, Reference, Schema
from waybill_schema_registry.errors import Invalid, NotFound, StoreError
from waybill_schema_registry.levels import Level
from waybill_schema_registry.stores.memory import Memory, MemoryStore
from waybill_schema_registry.transfer import FORMS, export_records, import_dump, written


def record(name: str, *fields: str) -> str:
    members = [{"name": field, "type": "string"} for field in fields]
    return json.dumps({"type": "record", "name": name, "fields": members}, separators=(",", ":"))


def schema(
    subject: str, version: int, ident: int, text: str, **more: Any
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    key = {"keytype": "SCHEMA", "subject": subject, "version": version, "magic": 1}
    return key, {"subject": subject, "version": version, "id": ident, "schema": text, "deleted": False} | more


def setting(kind: str, subject: str | None, **value: Any) -> tuple[dict[str, Any], dict[str, Any] | None]:
    return {"keytype": kind, "subject": subject, "magic": 0}, {"subject": subject} | value if value else None


VAT, ORDER, ORDER_2 = record("Vat", "rate"), record("Order", "id"), record("Order", "id", "at")
LINE = '{"type":"record","name":"Line","fields":[{"name":"vat","type":"Vat"}]}'
USED = [{"name": "Vat", "subject": "vat", "version": 1}]
TOPIC = [
    ({"keytype": "NOOP", "magic": 0}, None),
    setting("CONFIG", None, compatibilityLevel="FULL"),
    setting("CONFIG", "orders", compatibilityLevel="NONE", normalize=True),
    setting("CONFIG", "gone", compatibilityLevel="NONE"),
    schema("vat", 1, 3, VAT),
    schema("orders", 1, 4, ORDER),
    schema("orders", 2, 7, ORDER_2),
    schema("copies", 5, 4, ORDER),
    schema("lines", 1, 9, LINE, references=USED),
    schema(":.eu:orders", 1, 1, ORDER),
    schema(":.eu:vat", 1, 2, VAT),
    schema(":.eu:lines", 1, 3, LINE, references=USED),
    schema("old", 1, 11, record("Old")),
    schema("old", 2, 12, record("Old", "a")),
    schema("old", 3, 13, record("Old", "b")),
    ({"keytype": "DELETE_SUBJECT", "subject": "old", "magic": 0}, {"subject": "old", "version": 2}),
    schema("orders", 1, 4, ORDER, deleted=True),
    schema("erased", 1, 20, record("Erased")),
    ({"keytype": "SCHEMA", "subject": "erased", "version": 1, "magic": 1}, None),
    setting("CONFIG", "gone"),
    setting("MODE", "lines", mode="READONLY"),
]
VERSIONS = {
    "vat": {1: (3, False)},
    "orders": {1: (4, True), 2: (7, False)},
    "copies": {5: (4, False)},
    "lines": {1: (9, False)},
    ":.eu:orders": {1: (1, False)},
    ":.eu:vat": {1: (2, False)},
    ":.eu:lines": {1: (3, False)},
    "old": {1: (11, True), 2: (12, True), 3: (13, False)},
}


def console(records: list[Any]) -> list[str]:
    """As kafka-console-consumer prints them with print.key=true."""
    return [f"{json.dumps(key)}\t{json.dumps(value)}\n" for key, value in records]


def timed(records: list[Any]) -> list[str]:
    return [f"CreateTime:{1_700_000_000_000 + n}\t{line}" for n, line in enumerate(console(records))]


def objects(records: list[Any]) -> list[str]:
    return [json.dumps({"key": key, "value": value, "timestamp": 17}) for key, value in records]


def kcat(records: list[Any]) -> list[str]:
    return [
        json.dumps(
            {
                "topic": "_schemas",
                "ts": 17,
                "key": json.dumps(key),
                "payload": None if value is None else json.dumps(value),
            }
        )
        for key, value in records
    ]


async def versions_of(engine: Engine) -> dict[str, dict[int, tuple[int, bool]]]:
    return {
        subject: {found.version: (found.id, found.deleted) for found in await engine.versions(subject, deleted=True)}
        for subject in await engine.subjects(deleted=True)
    }


@pytest.mark.parametrize("form", [console, timed, objects, kcat])
async def test_ids_versions_deletions_and_settings_are_those_of_the_topic(form: Any) -> None:
    store = MemoryStore()
    imported = await import_dump(store, form(TOPIC))
    assert (imported.schemas, imported.versions, imported.settings, imported.left_out) == (10, 11, 3, {})
    async with Engine(store) as engine:
        assert await versions_of(engine) == VERSIONS
        assert (await engine.version("vat", 1)).schema.text == VAT
        assert (await engine.config("orders")).compatibility is Level.NONE
        assert (await engine.config()).compatibility is Level.FULL
        assert await engine.mode("lines") is Mode.READONLY
        again = await engine.register("orders", Schema(text=ORDER_2))
        assert (again.id, again.version) == (7, 2)
        new = await engine.register("orders", Schema(text=record("Order", "new")))
        assert (new.id, new.version) == (21, 3), "an id that the topic has given is given again"
        more = Schema(text=LINE, references=(Reference(name="Vat", subject="vat", version=1),))
        assert (await engine.register(":.eu:more", more)).id == 3


async def test_importing_again_changes_nothing_and_a_longer_dump_adds_its_rest() -> None:
    store = MemoryStore()
    first = await import_dump(store, console(TOPIC[:8]))
    revision, state = await store.revision(), await state_of(store)
    again = await import_dump(store, console(TOPIC[:8]))
    assert (again.schemas, again.versions, again.settings) == (0, 0, 0)
    assert (await store.revision(), await state_of(store)) == (revision, state)
    rest = await import_dump(store, timed(TOPIC))
    assert first.schemas + rest.schemas == 10
    async with Engine(store) as engine:
        assert await versions_of(engine) == VERSIONS


async def test_texts_of_a_registry_that_orders_keys_are_found_by_the_clients_own() -> None:
    store = MemoryStore()
    karapace = json.dumps(json.loads(ORDER), sort_keys=True)
    assert karapace != ORDER
    await import_dump(store, console([schema("orders", 1, 5, karapace)]))
    async with Engine(store) as engine:
        assert (await engine.lookup("orders", Schema(text=ORDER))).id == 5


async def test_two_texts_of_one_schema_keep_their_two_ids() -> None:
    store = MemoryStore()
    spaced = json.dumps(json.loads(ORDER), indent=1)
    await import_dump(store, console([schema("a", 1, 5, spaced), schema("b", 1, 6, ORDER)]))
    async with Engine(store) as engine:
        assert [(await engine.schema(ident)).schema.text for ident in (5, 6)] == [spaced, ORDER]
        assert (await engine.lookup("b", Schema(text=ORDER))).id == 6


WRONG = {
    "line 2 is no record": [*console(TOPIC[:1]), "what is this\n"],
    "line 1 is no record": ['{"key": {"keytype": "SCHEMA"}}\n'],
    "do not go together": console([schema("a", 1, 1, VAT), ({**TOPIC[4][0], "version": 2}, TOPIC[4][1])]),
    "stands for two schemas: of version 1 of a (line 1) and of version 1 of b (line 2)": console(
        [schema("a", 1, 1, VAT), schema("b", 1, 1, ORDER)]
    ),
    "same schema stands under id 1": console([schema("a", 1, 1, VAT), schema("b", 1, 2, VAT)]),
    "needs version 1 of vat, which is nowhere": console([schema("lines", 1, 1, LINE, references=USED)]),
    "cannot be read": console([schema("a", 1, 1, '{"type": "nothing"}')]),
    "the format PROTOBUF, and only AVRO is known": console([schema("a", 1, 1, "message A {}", schemaType="PROTOBUF")]),
    "CONFIG of a": console([setting("CONFIG", "a", compatibilityLevel="SOMETIMES")]),
    "MODE of a": console([setting("MODE", "a", mode="SOMETIMES")]),
    "in a circle": console(
        [
            schema("a", 1, 1, VAT, references=[{"name": "b", "subject": "b", "version": 1}]),
            schema("b", 1, 2, ORDER, references=[{"name": "a", "subject": "a", "version": 1}]),
        ]
    ),
    "nothing to import": console(TOPIC[:1]),
    "Expected `object`, got `array`": ["[1, 2]\n"],
    "version or id is none": console([schema("a", 1, 2**31, VAT)]),
    "SCHEMA of a: its key and its value": console([schema("a", 2**31, 1, VAT)]),
    "its time is none": [f"CreateTime:{10**30}\t{line}" for line in console([schema("a", 1, 1, VAT)])],
    "SCHEMA of a: its time": console([schema("a", 1, 1, VAT, ts=1e300)]),
    "is not a valid": console([schema("a\x00", 1, 1, VAT)]),
    "too long": console([schema("a" * 5000, 1, 1, VAT)]),
}


@pytest.mark.parametrize("said", WRONG)
async def test_whatever_is_wrong_is_said_before_anything_is_written(said: str) -> None:
    store = MemoryStore()
    good = [] if said == "nothing to import" else console([schema("good", 1, 99, record("Good"))])
    with pytest.raises(Invalid) as refused:
        await import_dump(store, [*WRONG[said], *good])
    assert said in str(refused.value)
    assert await store.revision() == 0


async def test_all_that_is_wrong_is_said_at_once() -> None:
    lines = console([schema(f"s{n}", 1, n, "{") for n in range(1, 31)])
    with pytest.raises(Invalid, match="and 10 more") as refused:
        await import_dump(MemoryStore(), lines)
    assert str(refused.value).count("cannot be read") == 20


async def test_what_contradicts_the_registry_is_refused() -> None:
    store = MemoryStore()
    await import_dump(store, console([schema("a", 1, 1, VAT)]))
    for wrong, said in [
        (schema("b", 1, 1, ORDER), "stands for another schema in the registry"),
        (schema("b", 1, 2, VAT), "the same schema stands under id 1"),
        (schema("a", 1, 2, ORDER), "has id 2, and 1 in the registry"),
    ]:
        with pytest.raises(Invalid, match=said):
            await import_dump(store, console([wrong]))
    await import_dump(
        store, console([schema("lines", 1, 5, LINE, references=[{"name": "Vat", "subject": "a", "version": 1}])])
    )
    assert await store.revision() == 2


@pytest.mark.broker("postgres")
async def test_what_is_exported_is_imported_as_it_was(tmp_path: Path) -> None:
    async with postgres_schema() as postgres:
        urls = [f"sqlite:///{tmp_path / 'one.db'}", postgres, f"sqlite:///{tmp_path / 'two.db'}"]
        lines, texts = timed(TOPIC), []
        for url in urls:
            async with opened(url) as store:
                await import_dump(store, lines)
                records = [found async for found in export_records(store)]
                lines = [written(found, "lines") for found in records]
                texts.append(sorted(lines))
                async with Engine(store) as engine:
                    assert await versions_of(engine) == VERSIONS
        assert texts[0] == texts[1] == texts[2]


@pytest.mark.parametrize("form", FORMS)
async def test_what_is_written_has_nothing_before_what_it_refers_to(form: str) -> None:
    memory = Memory()
    await import_dump(
        MemoryStore(memory), console([schema("lines", 1, 1, LINE, references=USED), schema("vat", 1, 2, VAT)])
    )
    lines = [written(found, form) async for found in export_records(MemoryStore(memory))]
    assert ["lines" in line for line in lines] == [False, True]
    assert '"references":[{"name":"Vat","subject":"vat","version":1}]' in lines[1]
    if form == "console":
        key, _, value = lines[0].partition("\t")
        assert key == '{"keytype":"SCHEMA","subject":"vat","version":1,"magic":1}', "Kafka compares keys by their bytes"
        assert json.loads(value) == {"subject": "vat", "version": 1, "id": 2, "schema": VAT, "deleted": False}


async def test_an_id_whose_schema_is_gone_is_not_given_again_in_its_context() -> None:
    store = MemoryStore()
    gone = [schema(":.eu:x", 1, 9, VAT), ({"keytype": "SCHEMA", "subject": ":.eu:x", "version": 1, "magic": 1}, None)]
    lines = console([*gone, schema(":.eu:y", 1, 2, VAT), schema("z", 1, 3, VAT)])
    await import_dump(store, lines)
    assert (await import_dump(store, lines)).settings == 0
    assert await store.revision() == 1, "importing twice is the same as once"
    async with Engine(store) as engine:
        assert (await engine.register(":.eu:new", Schema(text=ORDER))).id == 10
        assert (await engine.register("new", Schema(text=ORDER))).id == 4


async def test_what_is_deleted_for_good_while_it_is_exported_is_said() -> None:
    memory = Memory()
    async with Engine(MemoryStore(memory)) as engine:
        for number in range(501):
            await engine.register(f"s{number}", Schema(text=record(f"R{number}")))
        records = export_records(MemoryStore(memory))
        await anext(records)
        await engine.delete_subject("s500")
        await engine.delete_subject("s500", permanent=True)
        with pytest.raises(StoreError, match="export again"):
            async for _ in records:
                pass


async def test_of_an_empty_store_there_is_nothing_to_export() -> None:
    with pytest.raises(NotFound, match="the store is empty"):
        await anext(export_records(MemoryStore()))
