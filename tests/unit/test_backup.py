"""A copy of the embedded broker's file, made while it is in use: whole, checked, or not there at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mounting import disk
from tests.unit.stand_ins import Bench, until
from tests.unit.test_cli import read_all
from waybill import App, BrokerError, BrokerFileError, ConfigurationError, Reject, Settings, Topic
from waybill.backing import Backs, Copied
from waybill.cli import backup as command
from waybill.clock import SystemClock
from waybill.loading import AdapterContext
from waybill_embedded import adapter
from waybill_embedded import backup as backing
from waybill_embedded.file import Location

ROOT = str(Path(__file__).parents[2])
numbers = Topic("numbers", int, groups=["counter"])


def quietly(_share: float, _what: str) -> None:
    pass


async def copy(source: Path, target: Path, progress: Callable[[float, str], None] = quietly) -> Copied:
    context = AdapterContext(application="test", clock=SystemClock(), options={})
    return await adapter(f"sqlite:///{source}", context).backup(target, progress)


async def publish(path: Path, *values: int) -> None:
    app = App("counter", settings=Settings(url=f"sqlite:///{path}"))
    async with app.running():
        await app.publish_many(numbers, values)


async def handled(path: Path, count: int) -> list[int]:
    app = App("counter", settings=Settings(url=f"sqlite:///{path}"))
    seen: list[int] = []

    @app.consume(numbers)
    async def note(number: int) -> None:
        seen.append(number)

    async with app.running():
        await until(lambda: len(seen) >= count, within=60)
    return seen


def waybill(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WAYBILL_")}
    return subprocess.run(
        [sys.executable, "-c", "import sys; from waybill.cli import main; sys.exit(main())", *arguments],
        cwd=folder, env=kept, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bus.db"


# ------------------------------------------------------------------ beside others

_PUBLISH = """
    import asyncio, sys
    from pathlib import Path
    from tests.unit.test_backup import *

    async def main():
        app = App("counter", settings=Settings(url=f"sqlite:///{sys.argv[1]}"))
        async with app.running():
            number = 0
            while True:
                await app.publish_many(numbers, range(number, number + 50))
                number += 50
                print(number, flush=True)

    asyncio.run(main())
"""


async def test_a_copy_made_beside_a_publisher_has_all_that_was_confirmed_before_it(path: Path) -> None:
    await publish(path)
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_PUBLISH), str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as publisher:
        try:
            assert publisher.stdout is not None
            before = 0
            while before < 5000:
                before = int(publisher.stdout.readline())
            copied = await copy(path, path.with_name("copy.db"))
        finally:
            publisher.kill()
    assert copied.messages >= before
    assert copied.bytes == path.with_name("copy.db").stat().st_size
    found = await handled(path.with_name("copy.db"), copied.messages)
    assert sorted(found) == list(range(copied.messages)), "one moment: nothing is missing in between"
    assert not list(path.parent.glob(".*"))


async def test_a_copy_does_not_hold_up_those_who_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishes are confirmed between its steps, and it does not begin anew for them."""
    monkeypatch.setattr(backing, "STEP", 1)
    copy_pages, confirmed, steps = backing._copy_pages, threading.Semaphore(0), list[bool]()

    def in_step(source: sqlite3.Connection, target: sqlite3.Connection, tell: Callable[[float, str], None]) -> None:
        def told(share: float, what: str) -> None:
            tell(share, what)
            if len(steps) < 4:  # it waits for a publish, which would wait for it
                steps.append(confirmed.acquire(timeout=10))

        copy_pages(source, target, told)

    monkeypatch.setattr(backing, "_copy_pages", in_step)
    app = App("counter", settings=Settings(url=f"sqlite:///{path}"))
    async with app.running(consume=False):
        await app.publish_many(numbers, range(5000))
        shares: list[float] = []
        copying = asyncio.ensure_future(copy(path, path.with_name("copy.db"), lambda share, _: shares.append(share)))
        await until(lambda: shares)
        while not copying.done():
            await app.publish(numbers, -1)
            confirmed.release()
        copied = await copying
    assert steps == [True] * 4, "a publish was not confirmed while the copy was being made"
    assert shares == sorted(shares)
    assert copied.messages == 5000


async def test_what_was_handed_out_is_ready_in_the_copy_and_still_held_in_the_original(path: Path) -> None:
    app = App("counter", settings=Settings(url=f"sqlite:///{path}"))
    go = asyncio.Event()
    held: list[int] = []
    done: list[int] = []

    @app.consume(numbers)
    async def hold(number: int) -> None:
        held.append(number)
        await go.wait()
        done.append(number)

    async with app.running():
        await app.publish_many(numbers, range(5))
        await until(lambda: len(held) == 5)
        assert (await copy(path, path.with_name("copy.db"))).messages == 5
        assert path_rows(path.with_name("copy.db"), "SELECT DISTINCT owner, crashes FROM entries") == [(None, 0)]
        assert sorted(await handled(path.with_name("copy.db"), 5)) == [0, 1, 2, 3, 4]
        go.set()
        await until(lambda: len(done) == 5)
    assert sorted(held) == [0, 1, 2, 3, 4], "none was handed out twice"


async def test_dead_letters_and_groups_are_copied(path: Path) -> None:
    app = App("counter", settings=Settings(url=f"sqlite:///{path}"))

    @app.consume(numbers)
    async def refuse(number: int) -> None:
        raise Reject("not today")

    async with app.running():
        await app.publish(numbers, 1)
        await until(lambda: path_rows(path, "SELECT count(*) FROM dead") == [(1,)])
    assert await copy(path, path.with_name("copy.db")) == Copied(
        messages=0, dead=1, bytes=path.with_name("copy.db").stat().st_size
    )
    assert path_rows(path.with_name("copy.db"), "SELECT name FROM groups") == [("counter",)]


def path_rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


# ------------------------------------------------------------------ what it refuses


async def test_a_place_that_cannot_be_meant_is_refused_and_nothing_is_touched(path: Path, tmp_path: Path) -> None:
    await publish(path, 1)
    before = path.read_bytes()
    (tmp_path / "link.db").symlink_to(path)
    (tmp_path / "folder").mkdir()
    for target, told in [
        (path, "is the file to be copied"),
        (tmp_path / "link.db", "is the file to be copied"),
        (tmp_path / "folder", "is a folder"),
        (tmp_path / "nowhere" / "copy.db", "does not exist"),
    ]:
        with pytest.raises(ConfigurationError, match=told):
            await copy(path, target)
    with pytest.raises(ConfigurationError, match="there is nothing to copy"):
        await copy(tmp_path / "missing.db", tmp_path / "copy.db")
    assert path.read_bytes() == before
    assert not (tmp_path / "missing.db").exists()


async def test_a_file_that_is_in_use_is_not_replaced(path: Path) -> None:
    await publish(path, 1)
    other = path.with_name("other.db")
    app = App("counter", settings=Settings(url=f"sqlite:///{other}"))
    async with app.running(consume=False):
        with pytest.raises(ConfigurationError, match="is in use"):
            await copy(path, other)


async def test_memory_cannot_be_copied() -> None:
    context = AdapterContext(application="test", clock=SystemClock(), options={})
    with pytest.raises(ConfigurationError, match="memory:// has no file"):
        await adapter("memory://", context).backup(Path("copy.db"), quietly)


async def test_a_damaged_file_is_not_passed_on_as_a_good_copy(path: Path) -> None:
    await publish(path, *range(5000))
    pages = path.stat().st_size // 4096
    with path.open("r+b") as file:
        file.seek(pages // 2 * 4096)
        file.write(os.urandom(4096))
    target = path.with_name("copy.db")
    target.write_bytes(b"yesterday's")
    with pytest.raises(BrokerFileError, match="damaged"):
        await copy(path, target)
    assert target.read_bytes() == b"yesterday's"
    assert not list(path.parent.glob(".*"))


async def test_a_file_of_another_program_is_not_copied(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE contacts (name TEXT)")
    with pytest.raises(BrokerFileError, match="another program"):
        await copy(path, path.with_name("copy.db"))
    assert [file.name for file in path.parent.iterdir()] == ["bus.db"]


async def test_a_file_of_another_version_is_copied_as_it_is(path: Path) -> None:
    """One copies before one migrates."""
    await publish(path, 1)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE members RENAME TO participants")
        connection.execute("PRAGMA user_version = 999")
    assert (await copy(path, path.with_name("copy.db"))).messages == 1
    assert path_rows(path.with_name("copy.db"), "PRAGMA user_version") == [(999,)]


async def test_a_copy_that_is_given_up_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_up, shares, real = threading.Event(), list[float](), backing._copy

    def in_steps(location: Location, source: Path, to: Path, tell: Callable[[float, str], None]) -> Copied:
        def told(share: float, what: str) -> None:
            tell(share, what)
            assert given_up.wait(20)

        return real(location, source, to, told)

    monkeypatch.setattr(backing, "STEP", 1)
    monkeypatch.setattr(backing, "_copy", in_steps)
    await publish(path, *range(2000))
    copying = asyncio.ensure_future(copy(path, path.with_name("copy.db"), lambda share, _: shares.append(share)))
    await until(lambda: shares)
    copying.cancel()
    asyncio.get_running_loop().call_later(0.05, given_up.set)  # the task hears of it before
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert max(shares) < 1
    assert not path.with_name("copy.db").exists()
    assert not list(path.parent.glob(".*"))


async def test_a_copy_that_does_not_fit_leaves_nothing(path: Path, tmp_path: Path) -> None:
    await publish(path, *range(10_000))
    with disk(tmp_path / "disk", "512k") as folder:
        with pytest.raises(BrokerError, match=f"{folder}/copy.db: the disk is full: make room"):
            await copy(path, folder / "copy.db")
        assert not list(folder.iterdir())


async def test_a_copy_is_as_private_as_the_file(path: Path) -> None:
    await publish(path, 1)
    path.chmod(0o600)
    await copy(path, path.with_name("copy.db"))
    assert path.with_name("copy.db").stat().st_mode & 0o777 == 0o600


# ------------------------------------------------------------------ the command


async def test_the_command_makes_a_copy_without_an_application_and_replaces_none_unasked(path: Path) -> None:
    await publish(path, *range(7))
    folder = path.parent
    made = waybill(folder, "backup", "copy.db", "--url", "sqlite:///bus.db")
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.startswith("copy.db: 7 messages and 0 dead letters, ")
    again = waybill(folder, "backup", "copy.db", "--url", "sqlite:///bus.db")
    assert (again.returncode, again.stdout) == (2, "")
    assert "--force" in again.stderr
    await publish(path, 8)
    forced = waybill(folder, "backup", "copy.db", "--url", "sqlite:///bus.db", "--force", "--json")
    assert forced.returncode == 0
    assert json.loads(forced.stdout) == [
        {"file": str(folder / "copy.db"), "messages": 8, "dead": 0, "bytes": (folder / "copy.db").stat().st_size}
    ]
    assert len(await handled(folder / "copy.db", 8)) == 8


async def test_the_command_takes_the_broker_of_the_application(path: Path) -> None:
    await publish(path, 1)
    (path.parent / "service.py").write_text(
        "from waybill import App, Settings\napp = App('counter', settings=Settings(url='sqlite:///bus.db'))\n"
    )
    assert waybill(path.parent, "backup", "copy.db", "--app", "service:app").returncode == 0
    (path.parent / "waybill.toml").write_text('app = "service:app"\n')
    assert waybill(path.parent, "backup", "other.db").returncode == 0
    assert path.with_name("other.db").exists()


def test_without_a_broker_it_says_how_to_name_one(tmp_path: Path) -> None:
    refused = waybill(tmp_path, "backup", "copy.db")
    assert refused.returncode == 2
    assert "WAYBILL_URL" in refused.stderr


def test_the_command_explains_itself_with_an_example(tmp_path: Path) -> None:
    assert "Example: waybill backup" in waybill(tmp_path, "backup", "--help").stdout


async def test_a_bar_is_shown_on_a_terminal(path: Path) -> None:
    await publish(path, *range(20_000))
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; from waybill.cli import main; sys.exit(main())",
         "backup", "copy.db", "--url", "sqlite:///bus.db"],
        cwd=path.parent, stdout=subprocess.PIPE, stderr=follower,
        env={**os.environ, "COLUMNS": "80", "TERM": "xterm"}, text=True,
    ) as process:  # fmt: skip
        os.close(follower)
        told = read_all(leader)
        assert process.stdout is not None
        assert process.stdout.read().startswith("copy.db: 20000 messages")
    assert process.returncode == 0
    assert "━" in told


def test_another_broker_has_means_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Bench()
    assert not isinstance(other, Backs)
    monkeypatch.setattr(command, "open_adapter", lambda _url, _context: other)
    with pytest.raises(ConfigurationError, match="the bench is not copied by this command"):
        command._backing(Settings(url="bench://"))
