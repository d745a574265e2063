"""The promises of a registry's store, in the words of `waybill_schema_registry.stores.store.Store`."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from copy import deepcopy
from itertools import pairwise

from waybill_contracts.registry.promise import promise
from waybill_contracts.registry.trial import State, Trial, added, kept, refused, state_of, version
from waybill_schema_registry.entities import Config, Metadata, Mode, Reference, Rule, RuleSet, Schema
from waybill_schema_registry.levels import Level
from waybill_schema_registry.stores.store import (
    Change,
    ConfigSet,
    ModeSet,
    Moved,
    RecordSet,
    SchemaAdded,
    SchemaErased,
    Store,
    VersionErased,
    VersionSet,
)

__all__: list[str] = []

SCRIPTS = 'quotes "\'`, back\\slash, §, 語, 🚛, \u2028, \x7f, {"json": [1, 2]}, %s $1 :name ? --'
HISTORY: tuple[tuple[Change, ...], ...] = (
    (added(1), version("orders", 1, 1)),
    (added(2), version("orders", 2, 2), ConfigSet(scope="orders", config=Config(compatibility=Level.FULL))),
    (version("orders", 1, 1, deleted=True), ModeSet(scope="", mode=Mode.READONLY)),
    (
        added(3, to=[Reference(name="o", subject="orders", version=2)]),
        version("lines", 1, 3),
        RecordSet(kind="a", key="b", body=b"{}"),
    ),
    (VersionErased(context=".", subject="orders", version=1), SchemaErased(context=".", id=1)),
    (ConfigSet(scope="orders", config=None), ModeSet(scope="", mode=None), RecordSet(kind="a", key="b", body=None)),
    (added(1, context=".eu"), version("orders", 1, 1, context=".eu"), version("orders", 3, 2)),
)
"""Commits of each kind, each on what the earlier ones left."""


async def write_history(store: Store) -> dict[int, State]:
    """Commit it; the state of each revision."""
    states, changes = {0: State()}, list[Change]()
    for commit in HISTORY:
        changes += commit
        states[await kept(store, *commit)] = State().apply(changes)
    return states


@promise(1)
async def an_empty_store_is_at_revision_0_and_holds_nothing(trial: Trial) -> None:
    async with trial.opened() as store:
        assert await store.revision() == 0
        assert await state_of(store) == State()
        assert await store.schemas(".", [1]) == {}


@promise(2)
async def each_commit_is_a_revision_and_the_next_question_is_told_of_it(trial: Trial) -> None:
    async with trial.opened() as store:
        told = [0]
        for number in range(1, 6):
            told.append(await store.commit(told[-1], [added(number), version("orders", number, number)]))
            assert await store.revision() == told[-1], "whoever asks after a commit is not told of it"
            found = await state_of(store, told[-2])
            assert set(found.versions) == {(".", "orders", number)}, "its changes are not there when it has returned"
        assert all(later > earlier for earlier, later in pairwise(told)), told


@promise(3)
async def what_was_decided_on_an_older_revision_has_moved_and_nothing_of_it_is_kept(trial: Trial) -> None:
    async with trial.opened() as store:
        old = await kept(store, added(1))
        new = await kept(store, added(2))
        try:
            await store.commit(old, [added(3)])
        except Moved:
            pass
        else:
            raise AssertionError("it was kept, though somebody had committed since")
        assert (await store.revision(), set((await state_of(store)).schemas)) == (new, {(".", 1), (".", 2)})


@promise(4)
async def a_commit_is_kept_whole_or_not_at_all(trial: Trial) -> None:
    async with trial.opened() as store:
        await kept(store, added(1))
        many = [each for n in range(2, 40) for each in (added(n), version("orders", n, n))]
        await refused(store, [*many, added(1, guid="other")], "the last of many changes contradicts what is there")
        await refused(store, [added(1, guid="other"), *many], "the first of many changes contradicts what is there")
        await kept(store, *many)
        assert len((await state_of(store)).versions) == 38


@promise(5)
async def what_is_kept_comes_back_as_it_was(trial: Trial) -> None:
    metadata = Metadata(tags={"**.vat": ["PII"]}, properties={"owner": "billing"}, sensitive=["owner"])
    rules = RuleSet(domain_rules=[Rule(name="r", kind="CONDITION", tags=["t"], params={"a": "b"}, disabled=True)])
    used = (Reference(name="com.example.Vat", subject="vat", version=1),)
    schema = Schema(text='"int"', format="OTHER", references=used, metadata=metadata, rules=rules)
    config = Config(
        compatibility=Level.NONE, alias="a", normalize=False, default_metadata=metadata, override_rule_set=rules
    )
    changes: list[Change] = [
        added(1),
        version("vat", 1, 1),
        SchemaAdded(context=".", id=2, guid="g", references=used, schema=schema),
        VersionSet(context=".", subject="orders", version=7, id=2, at=1_234_567_890_123, deleted=True),
        ConfigSet(scope=":.eu:orders", config=config),
        ModeSet(scope=":.eu:", mode=Mode.IMPORT),
        RecordSet(kind="association", key="k", body=bytes(range(256))),
    ]
    async with trial.opened() as store:
        await kept(store, *changes)
        assert await state_of(store) == State().apply(changes)
        assert await store.schemas(".", [2]) == {2: schema}


@promise(6)
async def a_text_of_any_script_and_length_is_unchanged(trial: Trial) -> None:
    long = '"' + "語" * 400_000 + '"'
    async with trial.opened() as store:
        await kept(store, added(1, text=SCRIPTS, guid=SCRIPTS), version(SCRIPTS, 1, 1))
        await kept(
            store, added(2, text=long), added(3, text=' {"b":1,  "a":2}\n'), RecordSet(kind="k", key=SCRIPTS, body=b"")
        )
        found = await store.schemas(".", [1, 2, 3])
        assert {ident: schema.text for ident, schema in found.items()} == {1: SCRIPTS, 2: long, 3: ' {"b":1,  "a":2}\n'}
        state = await state_of(store)
        assert set(state.versions) == {(".", SCRIPTS, 1)}
        assert state.schemas[".", 1][0] == SCRIPTS
        assert state.records == {("k", SCRIPTS): b""}, "an empty body is not a missing one"


@promise(7)
async def what_was_taken_away_is_told_to_who_has_read_it_before(trial: Trial) -> None:
    async with trial.opened() as store:
        await kept(store, added(1), version("orders", 1, 1), ConfigSet(scope="orders", config=Config(normalize=True)))
        read = await kept(store, ModeSet(scope="", mode=Mode.READONLY), RecordSet(kind="a", key="b", body=b"1"))
        state = await state_of(store)
        await kept(store, VersionErased(context=".", subject="orders", version=1), SchemaErased(context=".", id=1))
        gone = (
            ConfigSet(scope="orders", config=None),
            ModeSet(scope="", mode=None),
            RecordSet(kind="a", key="b", body=None),
        )
        await kept(store, *gone)
        state = await state_of(store, read, state)
        assert state == State(highest={".": 1}), f"it still knows of what was taken away: {state}"
        assert await state_of(store) == state
        assert await store.schemas(".", [1]) == {}


@promise(8)
async def who_stops_reading_anywhere_has_a_state_that_was(trial: Trial) -> None:
    async with trial.opened() as store:
        states = await write_history(store)
        state = states[max(states)]
        for filler in range(600):  # more than is read at once
            change = ConfigSet(scope=f"s{filler % 7}", config=Config(alias=str(filler)))
            state = deepcopy(state).apply([change])
            states[await kept(store, change)] = state
        found, revision = State(), 0
        async for revision, changes in store.changes(0):
            found.apply(changes)
            assert found == states[revision], f"at revision {revision}"
        assert revision == max(states)


@promise(9)
async def reading_on_leads_to_the_same_as_reading_all(trial: Trial) -> None:
    async with trial.opened() as store:
        states = await write_history(store)
        present = await state_of(store)
        for revision, state in states.items():
            assert await state_of(store, revision, state) == present, f"from revision {revision}"
        assert [found async for found in store.changes(max(states))] == [], "there is nothing after the last"


@promise(10)
async def in_a_context_an_id_and_a_guid_stand_once(trial: Trial) -> None:
    async with trial.opened() as store:
        await kept(store, added(1))
        await refused(store, [added(1, guid="other")], "a second schema under an id")
        await refused(store, [added(2, guid="guid-1")], "a second id for a guid")
        await refused(store, [added(3), added(3, guid="other")], "two under one id at once")
        await kept(store, added(1, context=".eu"))
        await kept(store, SchemaErased(context=".", id=1), added(2, guid="guid-1"))
        assert set((await state_of(store)).schemas) == {(".", 2), (".eu", 1)}


@promise(11)
async def a_version_needs_its_schema(trial: Trial) -> None:
    async with trial.opened() as store:
        await kept(store, added(1), version("orders", 1, 1), added(2, context=".eu"))
        await refused(store, [version("orders", 2, 2)], "a version of a schema that only another context has")
        await refused(store, [version("orders", 1, 3)], "a version that changes to a schema that is not there")
        await refused(store, [SchemaErased(context=".", id=1)], "the schema of a version is erased")
        await kept(store, version("orders", 1, 1, deleted=True))
        await refused(store, [SchemaErased(context=".", id=1)], "the schema of a softly deleted version is erased")
        await kept(store, SchemaErased(context=".", id=1), VersionErased(context=".", subject="orders", version=1))


@promise(12)
async def a_reference_needs_the_version_that_it_names(trial: Trial) -> None:
    vat, eu = Reference(name="Vat", subject="vat", version=1), Reference(name="Eu", subject=":.eu:vat", version=1)
    erased = VersionErased(context=".", subject="vat", version=1)
    async with trial.opened() as store:
        await refused(store, [added(2, to=[vat])], "a reference to a version that is not there")
        await kept(store, added(2, to=[vat]), version("orders", 1, 2), version("vat", 1, 1), added(1))
        await refused(store, [added(3, to=[vat, eu])], "a reference into a context that does not have it")
        await refused(store, [erased], "a version is erased that a schema refers to")
        await kept(store, version("vat", 1, 1, deleted=True))
        await refused(store, [erased, SchemaErased(context=".", id=1)], "softly deleted or not")
        await kept(
            store, VersionErased(context=".", subject="orders", version=1), SchemaErased(context=".", id=2), erased
        )


@promise(13)
async def an_id_that_was_erased_is_known_to_have_been_given(trial: Trial) -> None:
    async with trial.opened() as store:
        await kept(store, added(1), added(7), added(9, context=".eu"))
        await kept(store, SchemaErased(context=".", id=7), SchemaErased(context=".eu", id=9))
        assert (await state_of(store)).highest == {".": 7, ".eu": 9}


@promise(14, together=True)
async def all_who_use_one_place_are_told_of_a_commit_at_once(trial: Trial) -> None:
    async with trial.opened() as one, trial.opened() as other:
        assert await other.revision() == 0
        for number in range(1, 51, 2):
            made = await kept(one, added(number), version("orders", number, number))
            assert await other.revision() == made, "the other is told of an older revision"
            assert await state_of(other) == await state_of(one)
            made = await kept(other, added(number + 1))
            assert await one.revision() == made, "the one is told of an older revision"
            assert number in await other.schemas(".", [number])


@promise(15, together=True)
async def of_those_who_commit_at_once_one_succeeds_and_the_others_have_moved(trial: Trial) -> None:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(trial.opened()) for _ in range(4)]
        given: list[tuple[int, int]] = []

        async def register(store: Store, times: int) -> None:
            while times:
                revision = await store.revision()
                ident = max((await state_of(store)).highest.get(".", 0), 0) + 1
                with suppress(Moved):
                    given.append((await store.commit(revision, [added(ident), version("orders", ident, ident)]), ident))
                    times -= 1

        await asyncio.gather(*(register(store, 10) for store in stores for _ in range(2)))
        revisions, ids = zip(*sorted(given), strict=True)
        assert sorted(ids) == list(range(1, 81)), "an id was given twice, or lost"
        assert len(set(revisions)) == 80, "a revision was given twice"
        assert {ident for _, ident in (await state_of(stores[0])).schemas} == set(ids)


@promise(16, together=True)
async def what_was_confirmed_is_there_when_it_is_opened_again(trial: Trial) -> None:
    async with trial.opened() as store:
        states = await write_history(store)
        revision = await store.revision()
    async with trial.opened() as store:
        assert (await store.revision(), await state_of(store)) == (revision, states[revision])
        assert (await store.schemas(".", [3]))[3].references == (Reference(name="o", subject="orders", version=2),)
        await kept(store, added(4))


@promise(17)
async def who_reads_holds_nobody_up(trial: Trial) -> None:
    async with trial.opened() as store:
        for number in range(300):
            await kept(store, ConfigSet(scope=f"s{number}", config=Config(normalize=True)))
        reading, found = aiter(store.changes(0)), State()
        revision, changes = await anext(reading)
        found.apply(changes)
        async with asyncio.timeout(10):
            new = await kept(store, added(1), version("orders", 1, 1))
        async for revision, changes in reading:  # noqa: B007 - the last one counts
            found.apply(changes)
        found = await state_of(store, revision, found)
        assert found == await state_of(store), f"what was committed while it read is not there: {new}"


@promise(18)
async def many_texts_are_asked_for_at_once_and_what_is_not_there_is_left_out(trial: Trial) -> None:
    async with trial.opened() as store:
        await kept(store, *(added(number) for number in range(1, 5001)))
        found = await store.schemas(".", [*range(0, 10_000, 2), 9_223_372_036_854_775_807])
        assert sorted(found) == list(range(2, 5001, 2))
        assert all(f'"F{ident}"' in schema.text for ident, schema in found.items())
        assert await store.schemas(".eu", [1, 2]) == {}
        assert await store.schemas(".", []) == {}


@promise(19)
async def a_commit_that_is_given_up_is_whole_or_not_at_all(trial: Trial) -> None:
    async with trial.opened() as store:
        for number in range(1, 30, 2):
            commit = asyncio.create_task(
                kept(store, added(number), added(number + 1), version("orders", number, number))
            )
            await asyncio.sleep(number / 5_000)
            commit.cancel()
            with suppress(asyncio.CancelledError, Moved):
                await commit
            schemas = {ident for _, ident in (await state_of(store)).schemas}
            assert (number in schemas) == (number + 1 in schemas), "half of it was kept"
        for _ in range(100):  # what was given up may come late
            with suppress(Moved):
                await kept(store, added(100), version("orders", 100, 100))
                break
        assert (".", "orders", 100) in (await state_of(store)).versions


@promise(20, together=True)
async def all_who_open_an_empty_place_at_once_succeed(trial: Trial) -> None:
    async with AsyncExitStack() as stack:
        opening = [stack.enter_async_context(trial.opened()) for _ in range(5)]
        stores = await asyncio.gather(*opening)
        made = await kept(stores[0], added(1))
        assert [await store.revision() for store in stores] == [made] * 5


@promise(21)
async def after_a_refusal_the_next_commit_is_kept(trial: Trial) -> None:
    async with trial.opened() as store:
        for number in range(1, 6):
            await refused(store, [version("orders", 1, 1000)], "a version without a schema")
            await kept(store, added(number))
        assert len((await state_of(store)).schemas) == 5


@promise(22)
async def the_changes_of_a_commit_are_made_in_their_order(trial: Trial) -> None:
    async with trial.opened() as store:
        await kept(store, added(1), added(2), version("orders", 1, 1), version("orders", 1, 2, deleted=True))
        assert (await state_of(store)).versions[".", "orders", 1][::2] == (2, True)
        one, two = Config(alias="one"), Config(alias="two")
        await kept(store, *(ConfigSet(scope="orders", config=config) for config in (one, None, two)))
        assert (await state_of(store)).configs == {"orders": two}
        await kept(store, VersionErased(context=".", subject="orders", version=1), version("orders", 1, 1))
        assert (await state_of(store)).versions[".", "orders", 1][::2] == (1, False)
        await kept(store, SchemaErased(context=".", id=2), added(2, guid="anew", text='"long"'))
        assert (await store.schemas(".", [2]))[2].text == '"long"'


@promise(23)
async def a_store_that_was_closed_can_be_opened_again(trial: Trial) -> None:
    store = trial.place.opener()
    for number in range(1, 4):
        await store.open()
        await store.open()  # it is open
        try:
            assert await store.revision() in {0, number - 1}, "what was in memory may be gone"
            await kept(store, added(number))
        finally:
            await store.close()
            await store.close()  # it is closed
