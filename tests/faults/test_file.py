"""The embedded broker's file under stress: damaged, read-only, locked, on a full disk, deleted, replaced, copied, too new.

Each ends in an error that names the fix; nothing confirmed is lost, no process dies of it, and where the cause goes away
it goes on by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path

import pytest

from tests.mounting import disk
from tests.unit.stand_ins import until
from waybill import App, BrokerError, Handled, PublishRefused, PublishUnknown, Settings, Topic
from waybill.sqlitefile import guard
from waybill_embedded import checkpointing, engine
from waybill_embedded.checkpointing import Checkpointer
from waybill_embedded.file import InDoubt

ROOT = str(Path(__file__).parents[2])
PAGE = 4096
WATCHFUL = 15.0
"""Seconds within which what has become of a file must be noticed."""
numbers = Topic("numbers", int, groups=["counter"])
texts = Topic("texts", str, groups=["counter"])


class Service:
    """An application on a file: what it has handled, and what it says."""

    def __init__(self, path: Path, *, consume: bool = True, query: str = "") -> None:
        self.app = App(
            "counter", settings=Settings(url=f"sqlite:///{path}{query}", publish_deadline=5, shutdown_grace=0)
        )
        self.seen: list[int] = []
        self.doubted: set[int] = set()
        if consume:

            @self.app.consume(numbers)
            async def count(number: int) -> None:
                self.seen.append(number)

    async def refused(self, number: int) -> str:
        """Publish; why that was refused. The first may be in doubt, and no other; none may be confirmed."""
        doubts: list[str] = []
        while len(doubts) < 2:
            try:
                await self.app.publish(numbers, number)
            except PublishRefused as refused:
                return str(refused)
            except PublishUnknown as unknown:
                self.doubted.add(number)
                doubts.append(str(unknown))
            else:
                raise AssertionError("it was confirmed")
        raise AssertionError(f"in doubt again: {doubts}")

    @property
    def sure(self) -> list[int]:
        """What it has handled, without what was in doubt and may be there as well."""
        return [number for number in self.seen if number not in self.doubted]

    @property
    def trouble(self) -> str:
        return self.app.consumer(numbers).trouble or ""


@contextlib.asynccontextmanager
async def running(path: Path, *, consume: bool = True, query: str = "") -> AsyncGenerator[Service, None]:
    service = Service(path, consume=consume, query=query)
    async with service.app.running(consume=consume):
        yield service


async def publish(path: Path, *values: int) -> None:
    """By an application of its own, which ends."""
    async with running(path, consume=False) as service:
        for value in values:
            await service.app.publish(numbers, value)


async def handled(path: Path, count: int) -> list[int]:
    """What a new application finds."""
    async with running(path) as service:
        await until(lambda: len(service.seen) >= count, within=10)
        return sorted(service.seen)


async def cannot_open(path: Path) -> str:
    with pytest.raises(BrokerError) as caught:
        async with running(path, consume=False):
            pass
    return str(caught.value)


def beside(path: Path, name: str) -> Path:
    return path.with_name(path.name + name)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file, to see that nothing was touched."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def python(code: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    """Another process. It can import what the tests can."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


async def said(process: subprocess.Popen[str]) -> str:
    """Its next line."""
    assert process.stdout is not None
    return (await asyncio.to_thread(process.stdout.readline)).strip()


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Generator[subprocess.Popen[str], None, None]:
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bus.db"


# ------------------------------------------------------------------ damaged


async def test_a_damaged_beginning_is_refused_and_nothing_is_changed(path: Path) -> None:
    await publish(path, 1)
    with path.open("r+b") as file:
        file.write(os.urandom(100))
    before = snapshot(path.parent)
    error = await cannot_open(path)
    assert "not an SQLite file, or its beginning is damaged" in error
    assert "restore a backup" in error
    assert snapshot(path.parent) == before


async def test_a_damaged_page_is_said_and_nothing_more_is_stored_behind_it(path: Path) -> None:
    async with running(path, consume=False) as service:
        await service.app.publish_many(texts, ["x" * 1000] * 400)
    pages = path.stat().st_size // PAGE
    with path.open("r+b") as file:
        for page in range(pages // 2, pages // 2 + 20):
            file.seek(page * PAGE)
            file.write(os.urandom(PAGE))
    before = path.stat().st_size
    service = Service(path)
    read: list[str] = []

    @service.app.consume(texts)
    async def read_one(text: str) -> None:
        read.append(text)

    async with service.app.running():
        await until(lambda: "is damaged" in (service.app.consumer(texts).trouble or ""))
        assert "restore a backup" in (service.app.consumer(texts).trouble or "")
        refused = await service.refused(1)
        assert "is damaged" in refused
        assert "Nothing more is stored" in refused
    assert set(read) <= {"x" * 1000}, "what comes out is what went in"
    assert path.stat().st_size == before


@pytest.mark.parametrize("how", ["cut", "scrambled"])
async def test_a_log_cut_short_gives_what_was_before_the_cut_in_order(tmp_path: Path, path: Path, how: str) -> None:
    async with running(path, consume=False) as service:
        for number in range(50):
            await service.app.publish(numbers, number)
        copy = tmp_path / "after-a-crash.db"  # a crash of everyone: the files as they lie there
        for name in ("", "-wal"):
            shutil.copy(beside(path, name), beside(copy, name))
    log = beside(copy, "-wal")
    if how == "cut":
        os.truncate(log, log.stat().st_size * 2 // 3)
    else:
        with log.open("r+b") as file:
            file.seek(log.stat().st_size * 2 // 3)
            file.write(os.urandom(1000))
    found: list[int] = []
    async with running(copy) as service:
        await until(lambda: service.seen)
        await service.app.publish(numbers, 99)
        await until(lambda: 99 in service.seen)
        found = service.seen
    assert 20 < len(found) < 51
    assert sorted(found) == [*range(len(found) - 1), 99]


async def test_a_log_with_a_damaged_beginning_is_refused_and_kept(tmp_path: Path, path: Path) -> None:
    """SQLite would take it for empty, and delete it."""
    async with running(path, consume=False) as service:
        await service.app.publish(numbers, 1)
        copy = tmp_path / "copy" / "bus.db"
        copy.parent.mkdir()
        for name in ("", "-wal"):
            shutil.copy(beside(path, name), beside(copy, name))
    with beside(copy, "-wal").open("r+b") as file:
        file.seek(5)
        file.write(b"\x99" * 20)
    before = snapshot(copy.parent)
    error = await cannot_open(copy)
    assert "log" in error
    assert "restore a backup" in error
    assert snapshot(copy.parent) == before
    beside(copy, "-wal").rename(copy.parent / "kept")  # as the error says
    await publish(copy, 2)
    assert 2 in await handled(copy, 1)


@pytest.mark.parametrize("left", ["empty", "nothing"])
async def test_a_log_without_its_file_is_refused_and_kept(tmp_path: Path, path: Path, left: str) -> None:
    """SQLite would make a new file, and delete the log that holds messages."""
    async with running(path, consume=False) as service:
        await service.app.publish(numbers, 1)
        home = tmp_path / "home"
        home.mkdir()
        shutil.copy(path, home / "kept.db")
        shutil.copy(beside(path, "-wal"), home / "bus.db-wal")
    if left == "empty":
        (home / "bus.db").touch()
    before = snapshot(home)
    error = await cannot_open(home / "bus.db")
    assert "put the file back" in error
    assert snapshot(home) == before
    (home / "kept.db").rename(home / "bus.db")
    assert await handled(home / "bus.db", 1) == [1]


async def test_an_empty_file_is_a_new_bus(path: Path) -> None:
    path.touch()
    await publish(path, 1)
    assert await handled(path, 1) == [1]


@pytest.mark.parametrize("journal", ["delete", "wal"])
async def test_a_file_of_another_program_is_left_without_a_trace(path: Path, journal: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA journal_mode = {journal}")
        other.execute("CREATE TABLE contacts (name TEXT)")
    before = snapshot(path.parent)
    assert "another program" in await cannot_open(path)
    assert snapshot(path.parent) == before
    assert [file.name for file in path.parent.iterdir()] == ["bus.db"]


async def test_something_that_is_no_database_is_left_without_a_trace(path: Path) -> None:
    path.write_bytes(b"a letter to my grandmother " * 200)
    assert "not an SQLite file" in await cannot_open(path)
    assert [file.name for file in path.parent.iterdir()] == ["bus.db"]
    path.unlink()
    path.mkdir()
    assert "is a folder" in await cannot_open(path)


# ------------------------------------------------------------------ read-only

_OPEN = """
    import asyncio, sys
    from pathlib import Path
    from tests.faults.test_file import *

    async def main():
        print(await cannot_open(Path(sys.argv[1])), flush=True)

    asyncio.run(main())
"""


def bound_by_permissions() -> None:
    """In a child that is about to run a program: let permissions bind it, though it is root."""
    drop_from_bounding_set = 24
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)


async def cannot_open_if_bound(path: Path) -> str:
    with ended(python(_OPEN, path, preexec_fn=bound_by_permissions)) as process:
        return await said(process)


async def test_a_read_only_file_is_refused_when_it_is_opened(path: Path) -> None:
    await publish(path, 1)
    path.chmod(0o444)
    error = await cannot_open_if_bound(path)
    assert f"{path} may not be written to by user" in error
    assert "permissions" in error
    path.chmod(0o644)
    assert await handled(path, 1) == [1]


async def test_a_read_only_file_is_refused_also_where_others_have_it_open_for_writing(path: Path) -> None:
    async with running(path, consume=False) as service:
        path.chmod(0o444)
        assert f"{path} may not be written to by user" in await cannot_open_if_bound(path)
        await service.app.publish(numbers, 1)


@pytest.mark.parametrize("there", [True, False])
async def test_a_read_only_folder_is_refused_and_named(path: Path, there: bool) -> None:
    if there:
        await publish(path, 1)
        beside(path, "-turn").unlink()
    path.parent.chmod(0o555)
    try:
        error = await cannot_open_if_bound(path)
    finally:
        path.parent.chmod(0o755)
    assert f"{path.parent} may not be written to by user" in error


async def test_a_file_beside_it_that_belongs_to_somebody_else_is_named(path: Path) -> None:
    await publish(path, 1)
    beside(path, "-turn").chmod(0o000)
    assert f"{path}-turn may not be written to by user" in await cannot_open_if_bound(path)


async def test_a_read_only_disk_is_refused_and_named(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "8m") as folder:
        await publish(folder / "bus.db", 1)
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        assert f"{folder} is mounted read-only" in await cannot_open(folder / "bus.db")
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        assert await handled(folder / "bus.db", 1) == [1]


# ------------------------------------------------------------------ locked

_LOCK = """
    import sqlite3, sys
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    for statement in sys.argv[2:]:
        connection.execute(statement)
    print("locked", flush=True)
    sys.stdin.readline()
    connection.close()
"""


async def test_a_foreign_lock_is_said_with_its_holder_and_when_it_is_gone_all_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "FOREIGN_PATIENCE", 0.3)
    async with running(path) as service:
        await service.app.publish(numbers, 1)
        await until(lambda: service.seen == [1])
        with ended(python(_LOCK, path, "BEGIN EXCLUSIVE")) as shell:
            assert await said(shell) == "locked"
            refused = await service.refused(2)
            assert "another program holds the file locked" in refused
            assert f"(process {shell.pid})" in refused
            assert shell.stdin is not None
            shell.stdin.close()
            shell.wait(5)
        await service.app.publish(numbers, 3)
        await until(lambda: service.sure == [1, 3])
        await until(lambda: not service.trouble)


async def test_what_was_handled_while_a_foreign_lock_was_held_is_settled_after_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "FOREIGN_PATIENCE", 0.2)
    go = asyncio.Event()
    service = Service(path, consume=False)
    seen: list[int] = []

    @service.app.consume(numbers)
    async def count(number: int) -> None:
        seen.append(number)
        await go.wait()

    async with service.app.running():
        await service.app.publish(numbers, 1)
        await until(lambda: seen == [1])
        with ended(python(_LOCK, path, "BEGIN EXCLUSIVE")) as shell:
            assert await said(shell) == "locked"
            go.set()
            await until(lambda: "settlements wait" in service.trouble)
            assert "locked" in service.trouble
        await service.app.publish(numbers, 2)
        await until(lambda: seen == [1, 2])
        await until(lambda: not service.trouble)
    assert not rows(path, "SELECT seq FROM messages")


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "behind-another-of-ours"])
async def test_closing_beside_a_locked_file_does_not_wait_for_whoever_has_locked_it(
    path: Path, others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for patience in ("FOREIGN_PATIENCE", "CLOSING"):
        monkeypatch.setattr(engine, patience, 60.0)  # what it would take who waited
    went = asyncio.Event()
    service = Service(path)

    @service.app.observe
    def settled(_: Handled) -> None:
        went.set()

    await publish(path, 1)
    async with contextlib.AsyncExitStack() as neighbours:
        for _ in range(others):
            other = await neighbours.enter_async_context(running(path, consume=False))
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(service.app.running())
            await asyncio.wait_for(went.wait(), 10)
            with ended(python(_LOCK, path, "BEGIN EXCLUSIVE")) as shell:
                assert await said(shell) == "locked"
                waiting = [asyncio.ensure_future(other.app.publish(numbers, 2)) for _ in range(others)]
                await asyncio.sleep(0.1)  # they have the turn, and wait for the lock
                lost = asyncio.ensure_future(service.app.publish(numbers, 3))
                await asyncio.sleep(0.1)
                began = time.monotonic()
                await stack.aclose()
                took = time.monotonic() - began
                await asyncio.gather(lost, *waiting, return_exceptions=True)
    assert took < 20.0, f"its grace was nothing, and it took {took:.1f} s"


async def test_starting_on_a_locked_file_can_be_told_to_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for patience in ("FOREIGN_PATIENCE", "CLOSING"):
        monkeypatch.setattr(engine, patience, 60.0)  # what it would take who waited
    await publish(path, 1)
    with ended(python(_LOCK, path, "BEGIN EXCLUSIVE")) as shell:
        assert await said(shell) == "locked"

        async def start() -> None:
            async with Service(path).app.running():
                raise AssertionError("nobody can start there")

        starting = asyncio.ensure_future(start())
        await asyncio.sleep(0.5)  # it waits for the lock
        began = time.monotonic()
        starting.cancel()
        await asyncio.wait([starting])
        took = time.monotonic() - began
    assert starting.cancelled()
    assert took < 20.0, f"it has heard of it after {took:.1f} s"


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


async def test_opening_waits_for_one_who_has_the_file_to_itself_for_a_moment(path: Path) -> None:
    await publish(path, 1)
    with ended(
        python(_LOCK, path, "PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE", "PRAGMA user_version")
    ) as shell:
        assert await said(shell) == "locked"
        opening = asyncio.ensure_future(handled(path, 1))
        await asyncio.sleep(0.2)  # long enough to be refused by a single try
        assert not opening.done()
        assert shell.stdin is not None
        shell.stdin.close()
        assert await opening == [1]


# ------------------------------------------------------------------ a full disk


def fill(folder: Path) -> None:
    """By another program, to the last byte."""
    with contextlib.suppress(OSError), (folder / "other").open("ab", buffering=0) as file:
        while True:
            file.write(bytes(PAGE))


async def publish_until_refused(service: Service, size: int = 5000) -> tuple[int, str]:
    stored = 0
    while True:
        try:
            await service.app.publish(texts, "x" * size)
        except PublishRefused as refused:
            return stored, str(refused)
        stored += 1


async def test_on_a_full_disk_publishing_is_refused_and_what_was_confirmed_is_handled(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "12m") as folder:
        path = folder / "bus.db"
        async with running(path) as service:
            stored, refused = await publish_until_refused(service)
        assert stored > 100
        assert "the disk is full" in refused
        assert "make room" in refused
        read = 0
        service = Service(path)

        @service.app.consume(texts)
        async def read_one(_: str) -> None:
            nonlocal read
            read += 1

        async with service.app.running():
            await until(lambda: read == stored, within=20)
            await goes_on(lambda: service.app.publish(numbers, 1))  # handling what was there has made room
            await until(lambda: service.seen == [1])
    assert read == stored


async def goes_on(publishing: Callable[[], object], within: float = 10.0) -> None:
    end = time.monotonic() + within
    while True:
        try:
            await publishing()  # type: ignore[misc]
        except PublishRefused:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        else:
            return


@pytest.mark.parametrize("experienced", [True, False])
async def test_when_another_program_fills_the_disk_what_is_there_is_handled_now_or_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, experienced: bool
) -> None:
    """Now, where the file has grown before and has room inside; later, where it would have to grow."""
    monkeypatch.setattr(checkpointing, "LOG_FRAMES", 64 if experienced else 4000)
    with disk(tmp_path / "disk", "12m") as folder:
        read = 0
        go = asyncio.Event()
        service = Service(folder / "bus.db")

        @service.app.consume(texts, concurrency=5)
        async def read_one(_: str) -> None:
            nonlocal read
            await go.wait()
            read += 1

        async with service.app.running():
            for _ in range(10):
                await service.app.publish_many(texts, ["x" * 5000] * 30)
            go.set()
            await until(lambda: read == 300, within=10)
            go.clear()
            fill(folder)
            stored, refused = await publish_until_refused(service)
            assert "the disk is full" in refused
            go.set()
            if experienced:
                await until(lambda: read == 300 + stored, within=20)
            else:
                await until(lambda: "the disk is full" in (service.app.consumer(texts).trouble or ""), within=10)
            (folder / "other").unlink()
            await until(lambda: read == 300 + stored, within=20)
            await goes_on(lambda: service.app.publish(numbers, 2))
            await until(lambda: 2 in service.seen, within=10)
    assert read == 300 + stored


async def test_a_limit_on_the_size_of_files_is_named_and_when_it_is_lifted_all_goes_on(path: Path) -> None:
    async with running(path) as service:
        await service.app.publish(numbers, 1)
        await until(lambda: service.seen == [1])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (beside(path, "-wal").stat().st_size, hard))
        try:
            refused = await service.refused(2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "a limit on the size of files" in refused
        await service.app.publish(numbers, 3)
        await until(lambda: service.sure == [1, 3])


# ------------------------------------------------------------------ gone


async def test_nothing_is_confirmed_into_a_deleted_file_and_the_idle_notice_it_too(path: Path) -> None:
    async with running(path) as service, running(path, consume=False) as publisher:
        await publisher.app.publish(numbers, 1)
        await until(lambda: service.seen == [1])
        path.unlink()
        refused = await publisher.refused(2)
        assert f"{path} was deleted, moved or replaced" in refused
        assert "put the file back, or restart" in refused
        await until(lambda: "was deleted, moved or replaced" in service.trouble, within=WATCHFUL)
    assert not path.exists(), "nobody made another"


async def test_a_file_that_comes_back_under_its_name_is_used_on(path: Path) -> None:
    async with running(path) as service:
        await service.app.publish(numbers, 1)
        await until(lambda: service.seen == [1])
        path.rename(path.with_name("elsewhere"))
        assert "was deleted, moved or replaced" in await service.refused(2)
        await until(lambda: service.trouble, within=WATCHFUL)
        path.with_name("elsewhere").rename(path)
        await service.app.publish(numbers, 3)
        await until(lambda: service.sure == [1, 3], seen=lambda: (service.seen, service.trouble))
        await until(lambda: not service.trouble)


async def test_a_loss_leaves_one_publish_in_doubt_and_no_more(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However soon the next come: where a flush takes no time, several fit into the moment for which one look is enough."""
    monkeypatch.setattr(guard, "COARSE", 0)
    monkeypatch.setattr(guard, "MOMENT", 60.0)
    async with running(path, consume=False) as service:
        for number in (1, 2):  # the second finds the folder unchanged, which is remembered
            await service.app.publish(numbers, number)
        path.rename(path.with_name("elsewhere"))
        with pytest.raises(PublishUnknown, match="was deleted, moved or replaced"):
            await service.app.publish(numbers, 3)
        with pytest.raises(PublishRefused, match="was deleted, moved or replaced"):
            await service.app.publish(numbers, 4)


async def test_a_folder_that_is_moved_is_noticed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    async with running(home / "bus.db", consume=False) as service:
        await service.app.publish(numbers, 1)
        home.rename(tmp_path / "away")
        assert "was deleted, moved or replaced" in await service.refused(2)
        shutil.copytree(tmp_path / "away", home, ignore=shutil.ignore_patterns("*-members"))
        assert "was deleted, moved or replaced" in await service.refused(3)


async def test_a_file_put_in_its_place_is_left_alone_by_those_who_had_the_old_one(tmp_path: Path, path: Path) -> None:
    other = tmp_path / "other.db"
    await publish(other, 7)
    async with running(path) as service:
        await service.app.publish(numbers, 1)
        await until(lambda: service.seen == [1])
        for name in ("-wal", "-shm"):
            beside(path, name).unlink()
        other.replace(path)
        async with running(path, consume=False) as new:
            await new.app.publish(numbers, 8)
            assert "was deleted, moved or replaced" in await service.refused(2)
    assert await handled(path, 2) == [7, 8]


async def test_a_commit_that_a_deletion_overtakes_is_in_doubt(path: Path) -> None:
    """Deleted after the look before the commit and before the one after it."""
    async with running(path, consume=False) as service:
        await service.app.publish(numbers, 1)
        writer = service.app._running().brokers.all[None]._engine  # type: ignore[attr-defined]
        stored, claimed = await asyncio.gather(
            writer.write(lambda _: path.unlink(), durable=True), writer.write(lambda _: "done"), return_exceptions=True
        )
    assert isinstance(stored, InDoubt)
    assert "may be found there later, or not" in str(stored)
    assert claimed == "done", "what is only known to this file is done, should it come back"


_CRASH = """
    import asyncio, os, sys
    from pathlib import Path
    from tests.faults.test_file import *

    async def main():
        path = Path(sys.argv[1])
        async with running(path) as service:
            await service.app.publish(texts, "kept")
            beside(path, "-wal").unlink()
            print(await service.refused(2), flush=True)
            os._exit(1)

    asyncio.run(main())
"""


async def test_what_was_confirmed_survives_the_deletion_of_the_log(path: Path) -> None:
    with ended(python(_CRASH, path)) as process:
        refused = await said(process)
        assert process.wait(5) == 1
    assert f"{path}-wal, which belongs to it, was deleted" in refused
    assert "restart" in refused
    kept, *in_doubt = rows(path, "SELECT body FROM messages")
    assert kept == (b'"kept"',)
    assert set(in_doubt) <= {(b"2",)}


async def test_the_idle_copy_a_deleted_log_into_the_file_too(path: Path) -> None:
    async with running(path) as service:
        await service.app.publish(texts, "kept")
        for name in ("-wal", "-shm", "-turn"):
            beside(path, name).unlink()
        await until(lambda: "restart" in service.trouble, within=WATCHFUL)
        copy = path.with_name("copy.db")
        subprocess.run(["cp", str(path), str(copy)], check=True)
        assert rows(copy, "SELECT body FROM messages") == [(b'"kept"',)]


async def test_locks_that_this_process_loses_do_not_lose_messages(path: Path) -> None:
    """Reading the file in any other way drops the locks SQLite has on it; a shell that ends then deletes the log."""
    async with running(path, consume=False) as service:
        await service.app.publish(numbers, 1)
        path.read_bytes()
        with ended(python(_LOCK, path, "SELECT count(*) FROM messages")) as shell:
            assert await said(shell) == "locked"
            await service.app.publish(numbers, 2)
            assert shell.stdin is not None
            shell.stdin.close()
            shell.wait(5)
        assert not beside(path, "-wal").exists(), "the trap has not snapped"
        assert "-wal, which belongs to it, was deleted" in await service.refused(3)
    assert set(await handled(path, 2)) - service.doubted == {1, 2}


_EMPTIED = """
    import asyncio, os, sys
    from pathlib import Path
    from tests.faults.test_file import *

    async def main():
        path = Path(sys.argv[1])
        async with running(path, consume=False) as service:
            await service.app.publish(numbers, 2)
            os.truncate(beside(path, "-wal"), 0)
            print(await service.refused(3), flush=True)
            print(await service.refused(4), flush=True)

    asyncio.run(main())
"""


async def test_nothing_is_confirmed_into_a_log_that_somebody_has_emptied(path: Path) -> None:
    """To save space, say. SQLite would write on behind the hole, lose all of it in a crash, and copy the hole at the end."""
    await publish(path, 1)
    with ended(python(_EMPTIED, path)) as process:
        first, second = await said(process), await said(process)
        assert process.wait(10) == 0
    assert "was emptied while this process had it open" in first
    assert "restore a backup, or go on" in first
    assert "was emptied" in second
    assert rows(path, "PRAGMA quick_check") == [("ok",)]
    assert await handled(path, 1) == [1]


async def test_nobody_may_begin_another_log_while_a_deleted_one_is_in_use(path: Path) -> None:
    with ended(python(_HOLD, path)) as holder:
        assert await said(holder) == "ready"
        for name in ("-wal", "-shm"):
            beside(path, name).unlink()
        error = await cannot_open(path)
        assert "was deleted while others have the file open" in error
        assert f"(process {holder.pid})" in error
        assert holder.stdin is not None
        holder.stdin.close()
        assert holder.wait(10) == 0
    assert await handled(path, 1) == [1]


_HOLD = """
    import asyncio, sys
    from pathlib import Path
    from tests.faults.test_file import *

    async def main():
        async with running(Path(sys.argv[1]), consume=False) as service:
            await service.app.publish(numbers, 1)
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)

    asyncio.run(main())
"""


async def test_the_last_of_the_old_does_not_delete_the_log_of_the_new(path: Path) -> None:
    with ended(python(_HOLD, path)) as old:
        assert await said(old) == "ready"
        for name in ("-wal", "-shm"):
            beside(path, name).unlink()
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as new:  # a program that does not ask
            new.execute("PRAGMA wal_autocheckpoint = 0")
            new.execute("CREATE TABLE kept (x)")
        assert beside(path, "-wal").stat().st_size > 0
        assert old.stdin is not None
        old.stdin.close()
        assert old.wait(10) == 0
    assert rows(path, "SELECT count(*) FROM kept") == [(0,)]


async def test_a_turn_file_that_was_cleaned_away_is_made_anew_for_all(path: Path) -> None:
    async with running(path) as one, running(path, consume=False) as two:
        await one.app.publish(numbers, 1)
        beside(path, "-turn").unlink()
        beside(path, "-checkpoint").unlink()
        await two.app.publish(numbers, 2)
        await one.app.publish(numbers, 3)
        await until(lambda: one.seen == [1, 2, 3])
        turns = [service.app._running().brokers.all[None]._engine._turn._fd for service in (one, two)]  # type: ignore[attr-defined]
        assert {os.fstat(turn).st_ino for turn in turns} == {beside(path, "-turn").stat().st_ino}


async def test_whoever_comes_through_a_link_meets_the_others(tmp_path: Path, path: Path) -> None:
    """By another name it would look for their doorbells elsewhere, and take what they hold."""
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "same.db"
    link.symlink_to(path)
    hold = asyncio.Event()
    service = Service(path, consume=False)
    seen: list[int] = []

    @service.app.consume(numbers)
    async def count(number: int) -> None:
        seen.append(number)
        await hold.wait()

    async with service.app.running():
        await service.app.publish(numbers, 1)
        await until(lambda: seen == [1])
        async with running(link) as other:
            await other.app.publish(numbers, 2)
            await until(lambda: 2 in [*seen, *other.seen])
            await asyncio.sleep(1.5)  # it looks for the dead once a second
            assert 1 not in other.seen
        hold.set()
    assert [file.name for file in (tmp_path / "links").iterdir()] == ["same.db"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
async def test_a_deleted_file_can_be_got_back_from_a_process_that_has_it_open(path: Path) -> None:
    """As docs/embedded-broker.md says."""
    with ended(python(_HOLD, path)) as holder:
        assert await said(holder) == "ready"
        for name in ("", "-wal", "-shm"):
            beside(path, name).unlink()
        for link in Path(f"/proc/{holder.pid}/fd").iterdir():
            name = str(link.readlink()).removesuffix(" (deleted)")
            if name in {str(path), f"{path}-wal"} and not Path(name).exists():
                shutil.copy(link, name)
        holder.kill()
        holder.wait()
        assert await handled(path, 1) == [1]


# ------------------------------------------------------------------ two versions

_NEWER = """
    import asyncio, sys
    from pathlib import Path
    from tests.faults.test_file import *
    from waybill_embedded import file

    file.MIGRATIONS += (lambda connection: connection.execute("ALTER TABLE messages ADD COLUMN novelty TEXT"),)
    asyncio.run(publish(Path(sys.argv[1])))
    print("migrated", flush=True)
    sys.stdin.readline()
    asyncio.run(publish(Path(sys.argv[1]), 2))
"""


async def test_an_older_version_stops_when_a_newer_one_has_changed_the_file_under_it(path: Path) -> None:
    async with running(path) as service, running(path, consume=False) as publisher:
        await publisher.app.publish(numbers, 1)
        await until(lambda: service.seen == [1])
        with ended(python(_NEWER, path)) as newer:
            assert await said(newer) == "migrated"
            await until(lambda: "another version of Waybill" in service.trouble, within=WATCHFUL)
            refused = await publisher.refused(3)
            assert "by another version of Waybill" in refused
            assert "restart this process with that version" in refused
            assert newer.stdin is not None
            newer.stdin.close()
            assert newer.wait(10) == 0
        assert service.seen == [1]
    assert rows(path, "SELECT count(*) FROM messages") == [(1,)], "what the newer one stored is there for it"
    assert "later version" in await cannot_open(path)


# ------------------------------------------------------------------ the log


async def test_the_log_is_copied_by_one_at_a_time_and_not_begun_when_all_of_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a writer could start the log anew at that moment, and SQLite before 3.51.3 would lose what it writes."""
    monkeypatch.setattr(checkpointing, "LOG_FRAMES", 64)
    copying: list[Checkpointer] = []
    begun: dict[Checkpointer, int] = {}
    wrong: list[str] = []
    copy = Checkpointer._copy

    def watched(self: Checkpointer, mode: str) -> int:
        if copying:
            wrong.append("two copied at a time")
        copying.append(self)
        begun[self] = begun.get(self, 0) + 1
        if begun[self] % 2:  # the first of two, beside writers
            index = subprocess.check_output(["head", "-c", "100", f"{path}-shm"])
            frames, copied = int.from_bytes(index[16:20], sys.byteorder), int.from_bytes(index[96:100], sys.byteorder)
            if copied == frames:
                wrong.append(f"all of {frames} were copied")
        time.sleep(0.005)  # on a disk that is not as fast
        try:
            return copy(self, mode)
        finally:
            copying.remove(self)

    monkeypatch.setattr(Checkpointer, "_copy", watched)
    async with running(path, query="?sync=normal") as one, running(path, consume=False, query="?sync=normal") as two:
        rounds = 0
        while rounds < 20 or (len(begun) < 2 and rounds < 400):  # which of them copies is chance
            rounds += 1
            await asyncio.gather(
                *(service.app.publish_many(numbers, range(20)) for service in (one, two) for _ in range(5))
            )
            await asyncio.gather(*(service.app.publish(numbers, 1) for service in (one, two)))
        await until(lambda: len(one.seen) == rounds * 202)
    assert len(begun) == 2, "one has never copied"
    assert not wrong


async def test_a_commit_that_changed_nothing_does_not_begin_to_copy_the_log(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves nothing to copy, so a writer could start the log anew at that moment."""
    async with running(path, consume=False) as one, running(path, consume=False) as two:
        await one.app.publish(numbers, 1)
        first, second = (service.app._running().brokers.all[None]._engine for service in (one, two))  # type: ignore[attr-defined]
        first._log._copy("PASSIVE")
        copied: list[str] = []
        monkeypatch.setattr(second._log, "_copy", lambda mode: copied.append(mode) or 0)
        second._log._commits = 10_000
        await second.write(lambda connection: connection.execute("SELECT count(*) FROM messages").fetchone())
        assert second._log.task is None
        await two.app.publish(numbers, 2)
        await until(lambda: copied)
