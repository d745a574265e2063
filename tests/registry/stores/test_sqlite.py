"""What can happen to a file: deleted, replaced, locked, of somebody else, on a full disk."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import pytest

from tests.mounting import disk
from waybill.sqlitefile.outside import size
from waybill_contracts.registry.trial import added, kept, state_of, version
from waybill_schema_registry.entities import Reference
from waybill_schema_registry.errors import StoreError
from waybill_schema_registry.stores import sqlite
from waybill_schema_registry.stores.sqlite import SQLiteStore


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[SQLiteStore, None]:
    store = SQLiteStore(str(path))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


def delete(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


def replace(path: Path) -> None:
    shutil.copy(path, f"{path}.copy")
    Path(f"{path}.copy").rename(path)


def delete_the_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()


async def until_refused(store: SQLiteStore) -> None:
    """Who only reads looks at the file now and then."""
    while await store.revision():
        await asyncio.sleep(0.001)


def fill(path: Path) -> None:
    """Take all room that the disk has."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


@pytest.mark.parametrize("harm", [delete, replace, delete_the_log])
async def test_nothing_is_confirmed_into_a_file_that_others_would_not_find(path: Path, harm: object) -> None:
    assert callable(harm)
    async with opened(path) as store:
        await kept(store, added(1))
        harm(path)
        with pytest.raises(StoreError, match="Nothing more is written"):
            await store.commit(1, [added(2)])
        with pytest.raises(StoreError, match="Nothing more is written"):
            await until_refused(store)


async def test_a_file_that_goes_while_it_is_committed_to_confirms_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = sqlite.apply

    def and_delete(*given: object) -> None:
        apply(*given)  # type: ignore[arg-type]
        delete(path)

    async with opened(path) as store:
        await kept(store, added(1))
        monkeypatch.setattr(sqlite, "apply", and_delete)
        with pytest.raises(StoreError, match="deleted, moved or replaced"):
            await store.commit(1, [added(2)])


async def test_a_file_of_another_program_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (a)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="of another program: name a file of its own"):
        await SQLiteStore(str(path)).open()
    assert path.read_bytes() == before
    path.write_bytes(b"this is no database, " * 100)
    with pytest.raises(StoreError, match="not an SQLite file"):
        await SQLiteStore(str(path)).open()


async def test_a_file_of_the_embedded_broker_is_of_another_program(path: Path) -> None:
    from waybill import App, Settings

    async with App("a", settings=Settings(url=f"sqlite:///{path}")).connected():
        pass
    with pytest.raises(StoreError, match="of another program"):
        await SQLiteStore(str(path)).open()


async def test_a_file_of_a_later_version_is_not_touched(path: Path) -> None:
    async with opened(path) as store:
        await kept(store, added(1))
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match=r"later version of Waybill \(file version 99, this one knows 1\): upgrade"):
        await SQLiteStore(str(path)).open()


async def test_a_file_that_a_later_version_changes_under_our_hands_is_not_written_to(path: Path) -> None:
    async with opened(path) as store:
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA user_version = 2")
        with pytest.raises(StoreError, match="from version 1 to 2"):
            await kept(store, added(1))


async def test_a_file_that_was_put_back_to_an_older_state_is_told_from_one_that_has_moved(path: Path) -> None:
    async with opened(path) as store:
        await kept(store, added(1))
        with pytest.raises(StoreError, match=r"put back to an older state\. Restart"):
            await store.commit(7, [added(2)])


async def test_a_lock_of_another_program_is_waited_for_and_nobody_waits_with_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            committing = asyncio.create_task(kept(store, added(1)))
            for _ in range(50):
                await asyncio.sleep(0.001)
                assert await store.revision() == 0
            assert not committing.done()
            other.execute("ROLLBACK")
            assert await committing == 1
            other.execute("BEGIN IMMEDIATE")
            monkeypatch.setattr(sqlite, "PATIENCE", 0.05)
            with pytest.raises(StoreError, match="holds the file locked"):
                await kept(store, added(2))
            other.execute("ROLLBACK")
        assert await kept(store, added(2)) == 2


async def test_on_a_full_disk_nothing_is_kept_and_with_room_it_goes_on(tmp_path: Path) -> None:
    with disk(tmp_path / "small", "2m") as folder:
        async with opened(folder / "registry.db") as store:
            await kept(store, added(1))
            state = await state_of(store)
            filler = folder / "filler"
            fill(filler)
            with pytest.raises(StoreError, match="the disk is full: make room; what was confirmed is safe"):
                await kept(store, added(2, text="x" * 100_000), version("orders", 1, 2))
            assert await state_of(store) == state
            filler.unlink()
            await kept(store, added(2, text="x" * 100_000), version("orders", 1, 2))
        async with opened(folder / "registry.db") as store:
            assert {ident for _, ident in (await state_of(store)).schemas} == {1, 2}


async def test_the_log_is_copied_into_the_file_while_it_is_used(path: Path) -> None:
    async with opened(path) as store, opened(path) as other:
        for number in range(0, 6000, 50):
            await kept(
                store if number % 100 else other, *(added(n + 1, text="x" * 1000) for n in range(number, number + 50))
            )
        written = size(str(path))
        assert written > 5_000_000, f"it has {written} bytes, and the log {size(f'{path}-wal')}"
        assert size(f"{path}-wal") < 5_000_000


async def test_what_is_kept_can_be_looked_at_with_sql(path: Path) -> None:
    async with opened(path) as store:
        await kept(store, added(1), version("vat", 1, 1))
        await kept(
            store,
            added(2, to=[Reference(name="Vat", subject="vat", version=1)]),
            version("orders", 1, 2, context=".", deleted=True),
        )
    with closing(sqlite3.connect(path)) as connection:
        versions = connection.execute(
            "SELECT subject, version, id, deleted, revision FROM versions ORDER BY id"
        ).fetchall()
        assert versions == [("vat", 1, 1, 0, 1), ("orders", 1, 2, 1, 2)]
        assert connection.execute('SELECT id, name, to_subject, to_version FROM "references"').fetchall() == [
            (2, "Vat", "vat", 1)
        ]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


async def test_nobody_uses_a_store_that_is_closed(path: Path) -> None:
    async with opened(path) as store:
        await kept(store, added(1))
        reading = aiter(store.changes(0))
        await anext(reading)
    for asking in (store.revision(), store.commit(1, [added(2)]), store.schemas(".", [1]), anext(reading)):
        with pytest.raises(StoreError, match="not open"):
            await asking


async def test_what_is_under_way_is_done_before_it_is_closed(path: Path) -> None:
    async with opened(path) as store:
        asked = [asyncio.create_task(store.schemas(".", [1])) for _ in range(20)]
        committing = asyncio.create_task(kept(store, *(added(n) for n in range(1, 1000))))
        await asyncio.sleep(0.001)
    assert len(await asyncio.gather(*asked)) == 20
    assert await committing == 1


async def test_half_of_a_character_is_refused(path: Path) -> None:
    async with opened(path) as store:
        for odd in (added(1, text="\ud800"), version("\udfff", 1, 1)):
            with pytest.raises(StoreError, match="surrogate"):
                await kept(store, added(2), odd)
        assert await store.revision() == 0
