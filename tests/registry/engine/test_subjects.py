"""Names of subjects and contexts."""

from __future__ import annotations

import pytest

from tests.registry.engine.conftest import record, refused
from waybill_schema_registry.engine.engine import Engine, Resource, Wanted
from waybill_schema_registry.engine.subjects import Name, context_of, qualified, split, within
from waybill_schema_registry.entities import Config, Metadata, Schema


@pytest.mark.parametrize(
    ("name", "context", "subject"),
    [
        ("orders", ".", "orders"),
        (":.eu:orders", ".eu", "orders"),
        (":.eu:", ".eu", ""),
        (":.eu", ".eu", ""),
        (":.:orders", ".", "orders"),
        (":*:orders", "*", "orders"),
        (":.eu:a:b", ".eu", "a:b"),
        ("a:b", ".", "a:b"),
        (":orders", ".", ":orders"),
        ("", ".", ""),
    ],
)
def test_a_name_is_taken_apart(name: str, context: str, subject: str) -> None:
    assert split(name) == Name(context, subject)


def test_a_subject_of_the_default_context_has_one_spelling() -> None:
    assert split(":.:orders").qualified == qualified(".", "orders") == "orders"


def test_a_context_has_many_spellings() -> None:
    assert {context_of(each) for each in ("eu", ".eu", ":.eu:", ":.eu")} == {".eu"}
    with refused(42208):
        context_of("a:b")


def test_prefixes() -> None:
    eu = Name(".eu", "orders-value")
    assert within(split(":*:"), eu)
    assert within(split(":.eu:ord"), eu)
    assert not within(split("ord"), eu)
    assert not within(split(":*:x"), eu)


@pytest.mark.parametrize(
    "name", ["a\nb", "a\x7fb", "\x00", "__GLOBAL", "__EMPTY", ":.eu:__GLOBAL", ":.__GLOBAL:a", ":*:a", "x" * 1025]
)
async def test_names_that_are_refused(engine: Engine, name: str) -> None:
    with refused(42208):
        await engine.register(name, record("a"))
    assert await engine.subjects(deleted=True) == []


@pytest.mark.parametrize("name", ["a/b", "../x", "a b", "語", "🚛", "*", "", "a%2Fb", ":x", "." * 1024])
async def test_names_that_are_taken(engine: Engine, name: str) -> None:
    made = await engine.register(name, record("a"))
    assert made.subject == name
    assert await engine.subjects() == [name]
    assert (await engine.version(name, "latest")).id == made.id


async def test_half_of_a_surrogate_pair_is_refused(engine: Engine) -> None:
    half = "a\ud800"
    with refused(42208):
        await engine.register(half, record("a"))
    bad = [
        record(half),
        Schema(text=f'"{half}"'),
        Schema(text='{"type": "record", "name": "R", "doc": "\\ud800", "fields": []}'),
        record("a", metadata=Metadata(properties={half: "b"})),
    ]
    for schema in bad:
        for ask in (
            engine.register("a", schema),
            engine.lookup("a", schema),
            engine.compatible("a", schema, verbose=False),
        ):
            with refused(42201):
                await ask
    with refused(42203):
        await engine.set_config(Config(alias=half), "a")
    with refused(42212):
        await engine.associate(Resource(name=half, namespace="n", id="i"), [Wanted(subject="a")])
    assert await engine.subjects() == []
