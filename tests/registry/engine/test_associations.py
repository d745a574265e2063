"""Topics and their subjects."""

from __future__ import annotations

import msgspec
import pytest

from tests.registry.engine.conftest import record, refused
from waybill_schema_registry.engine.engine import Engine, Resource, Wanted

TOPIC = Resource(name="orders", namespace="lkc-1", id="topic-1")
OTHER = Resource(name="lines", namespace="lkc-1", id="topic-2")


async def test_a_topic_is_associated_with_a_subject(engine: Engine) -> None:
    await engine.register("orders-value", record("a"))
    (made,) = await engine.associate(TOPIC, [Wanted(subject="orders-value")])
    assert (made.subject, made.association_type, made.lifecycle, made.frozen) == (
        "orders-value",
        "value",
        "WEAK",
        False,
    )
    for asked in (
        {"subject": "orders-value"},
        {"id": "topic-1"},
        {"name": "orders", "namespace": "-"},
        {"name": "orders", "namespace": "lkc-1", "type": "topic", "types": ["value"]},
    ):
        assert await engine.associations(**asked) == [made], asked
    for asked in (
        {"subject": "x"},
        {"id": "x"},
        {"name": "orders", "namespace": "x"},
        {"types": ["key"]},
        {"lifecycle": "STRONG"},
    ):
        assert await engine.associations(**asked) == [], asked
    assert await engine.associate(TOPIC, [Wanted(subject="orders-value")]) == [made], "the same again is the same"


async def test_a_schema_may_come_along(engine: Engine) -> None:
    with refused(40907, "No active (non-deleted) version exists for subject 'orders-value'"):
        await engine.associate(TOPIC, [Wanted(subject="orders-value")])
    await engine.associate(TOPIC, [Wanted(subject="orders-value", schema=record("a"), lifecycle="STRONG")])
    assert (await engine.version("orders-value", 1)).id == 1
    with refused(40904, "An association already exists for subject 'orders-value'"):
        await engine.delete_subject("orders-value")


async def test_a_strong_one_owns_its_subject(engine: Engine) -> None:
    await engine.register("s", record("a"))
    await engine.register("t", record("a"))
    await engine.associate(TOPIC, [Wanted(subject="s", lifecycle="STRONG"), Wanted(subject="t", type="key")])
    with refused(40905, "A strong association already exists for subject 's'"):
        await engine.associate(OTHER, [Wanted(subject="s")])
    with refused(40904):
        await engine.associate(OTHER, [Wanted(subject="t", lifecycle="STRONG")])
    await engine.associate(OTHER, [Wanted(subject="t")])


async def test_it_is_changed_only_where_that_is_asked_for(engine: Engine) -> None:
    await engine.register("s", record("a"))
    await engine.register("t", record("a"))
    await engine.associate(TOPIC, [Wanted(subject="s")])
    with refused(40903, "An association of type 'value' already exists for resource 'topic-1'"):
        await engine.associate(TOPIC, [Wanted(subject="t")])
    with refused(42212, "subject of association cannot be changed"):
        await engine.associate(TOPIC, [Wanted(subject="t")], update=True)
    (made,) = await engine.associate(TOPIC, [Wanted(subject="s", lifecycle="STRONG", frozen=True)], update=True)
    assert (made.lifecycle, made.frozen) == ("STRONG", True)
    with refused(40908, "is frozen for subject 's'"):
        await engine.associate(TOPIC, [Wanted(subject="s", lifecycle="WEAK", frozen=False)], update=True)


async def test_it_goes(engine: Engine) -> None:
    await engine.register("s", record("a"))
    await engine.register("t", record("a"))
    await engine.associate(
        TOPIC, [Wanted(subject="s", lifecycle="STRONG", frozen=True), Wanted(subject="t", type="key")]
    )
    with refused(40908):
        await engine.dissociate("topic-1")
    assert len(await engine.associations(id="topic-1")) == 2
    assert [each.subject for each in await engine.dissociate("topic-1", types=["key"])] == ["t"]
    assert [each.subject for each in await engine.dissociate("topic-1", cascade=True)] == ["s"]
    assert await engine.dissociate("topic-1") == []
    assert await engine.subjects() == ["t"]


@pytest.mark.parametrize(
    ("resource", "wanted"),
    [
        (Resource(name="", namespace="n", id="i"), [Wanted(subject="s")]),
        (Resource(name="n", namespace="n", id="i", type="queue"), [Wanted(subject="s")]),
        (TOPIC, []),
        (TOPIC, [Wanted()]),
        (TOPIC, [Wanted(subject="s", type="body")]),
        (TOPIC, [Wanted(subject="s", lifecycle="LONG")]),
        (TOPIC, [Wanted(subject="s", lifecycle="WEAK", frozen=True)]),
        (TOPIC, [Wanted(subject="s"), Wanted(subject="t")]),
    ],
)
async def test_what_is_refused(engine: Engine, resource: Resource, wanted: list[Wanted]) -> None:
    await engine.register("s", record("a"))
    with refused(42212, "The association specified an invalid value for property"):
        await engine.associate(resource, wanted)


@pytest.mark.parametrize("name", ["a\x00b", "a\nb", "x" * 1025])
@pytest.mark.parametrize("member", ["id", "name", "namespace"])
async def test_a_name_that_no_store_could_hold_is_refused(engine: Engine, member: str, name: str) -> None:
    await engine.register("s", record("a"))
    with refused(42212, "control characters"):
        await engine.associate(msgspec.structs.replace(TOPIC, **{member: name}), [Wanted(subject="s")])


async def test_a_shared_one_does_not_become_strong(engine: Engine) -> None:
    await engine.register("s", record("a"))
    strong = [Wanted(subject="s", lifecycle="STRONG")]
    for topic in (TOPIC, OTHER):
        await engine.associate(topic, [Wanted(subject="s")])
    with refused(40904):
        await engine.associate(TOPIC, strong, update=True)
    await engine.dissociate(OTHER.id)
    (made,) = await engine.associate(TOPIC, strong, update=True)
    assert made.lifecycle == "STRONG"
