"""What `waybill doctor` is told about the embedded broker's file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.mounting import disk
from waybill import App, ConfigurationError, Settings, Topic
from waybill.clock import SystemClock
from waybill.findings import Diagnoses, Finding
from waybill.loading import AdapterContext
from waybill_embedded import EmbeddedAdapter, adapter, diagnosis

numbers = Topic("numbers", int, groups=["counter"])


def bus(url: str) -> EmbeddedAdapter:
    return adapter(url, AdapterContext(application="test", clock=SystemClock(), options={}))


async def look(path: Path) -> dict[str, Finding]:
    found = await bus(f"sqlite:///{path}").diagnose()
    assert len({finding.what for finding in found}) == len(found)
    return {finding.what: finding for finding in found}


async def publish(path: Path, *values: int) -> None:
    app = App("counter", settings=Settings(url=f"sqlite:///{path}"))
    async with app.running():
        await app.publish_many(numbers, values)


def troubles(found: dict[str, Finding]) -> set[str]:
    """What is wrong, apart from the disk of whoever runs the tests."""
    return {what for what, finding in found.items() if finding.trouble} - {"file system", "free space"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bus.db"


async def test_a_healthy_file_has_no_trouble_and_its_facts_are_told(path: Path) -> None:
    app = App("counter", settings=Settings(url=f"sqlite:///{path}"))
    async with app.running():
        await app.publish_many(numbers, range(100))
        found = await look(path)
    assert not troubles(found)
    assert str(path) in found["file"].value
    assert found["check"].value == "ok"
    assert found["form"].value.endswith("journal mode wal")
    assert found["open in"].value == f"1 of Waybill (processes {os.getpid()})"
    assert sqlite3.sqlite_version in found["sqlite"].value
    assert float(found["log"].value.split()[0]) > 0
    assert found["permissions"].value.startswith("-rw")


async def test_to_look_changes_nothing_and_makes_nothing(path: Path) -> None:
    assert "not there yet" in (await look(path))["file"].value
    assert not list(path.parent.iterdir())
    await publish(path, 1)
    before = {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir() if file.suffix != ".db-members"}
    await look(path)
    assert {f.name: f.stat().st_mtime_ns for f in path.parent.iterdir() if f.suffix != ".db-members"} == before


async def test_a_missing_folder_is_named_with_the_fix(tmp_path: Path) -> None:
    found = await look(tmp_path / "no" / "bus.db")
    assert found["permissions"] == Finding("permissions", "-", f"{tmp_path}/no does not exist", "create it")


async def test_damage_is_found(path: Path) -> None:
    await publish(path, *range(5000))
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 8192 * 4096)
        file.write(os.urandom(4096))
    found = (await look(path))["check"]
    assert found.trouble == "the file is damaged"
    assert "restore a backup" in (found.fix or "")


async def test_checking_ends_in_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "PATIENCE", 0.0)
    await publish(path, *range(5000))
    assert (await look(path))["check"].value.startswith("nothing wrong in the part")


async def test_a_file_that_cannot_be_read_is_a_finding_too(path: Path) -> None:
    path.write_bytes(b"a letter to my grandmother " * 200)
    assert "not an SQLite file" in ((await look(path))["content"].trouble or "")


async def test_a_later_version_is_a_trouble(path: Path) -> None:
    await publish(path, 1)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 999")
    found = (await look(path))["form"]
    assert "refuses it" in (found.trouble or "")
    assert found.fix == "upgrade this installation"


async def test_another_name_for_the_same_file_is_a_trouble(path: Path) -> None:
    await publish(path, 1)
    path.with_name("other.db").hardlink_to(path)
    assert "several names" in ((await look(path))["file"].trouble or "")


async def test_other_programs_that_have_it_open_are_named(path: Path) -> None:
    await publish(path, 1)
    program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN'); c.execute('SELECT * FROM topics').fetchall(); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        value = (await look(path))["open in"].value
        other.kill()
    assert value.startswith("0 of Waybill; and ")
    assert value.endswith(f"(process {other.pid})")


async def test_a_disk_that_is_memory_or_full_or_read_only_is_a_trouble(tmp_path: Path) -> None:
    with disk(tmp_path / "a disk", "4m") as folder:
        found = await look(folder / "bus.db")
        assert found["file system"].value == "tmpfs"
        assert "gone when the machine restarts" in (found["file system"].trouble or "")
        assert found["free space"].trouble is None
        (folder / "other").write_bytes(bytes(4_000_000))
        found = await look(folder / "bus.db")
        assert "publishing is refused" in (found["free space"].trouble or "")
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        assert "mounted read-only" in ((await look(folder / "bus.db"))["permissions"].trouble or "")


@pytest.mark.parametrize(
    ("kind", "trouble"),
    [("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("9p", True), ("ext4", False), ("xfs", False), ("fuseblk", False)],
)  # fmt: skip
def test_network_file_systems_are_told_from_local_ones(
    path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, trouble: bool
) -> None:
    monkeypatch.setattr(diagnosis, "_file_system", lambda _folder: kind)
    (_, found) = diagnosis._disk(str(path), durable=True)
    assert found.value == kind
    assert (found.trouble is not None) is trouble


async def test_memory_has_little_to_tell() -> None:
    found: Sequence[Finding] = await bus("memory://").diagnose()
    assert [finding.what for finding in found] == ["sqlite", "file"]
    assert isinstance(bus("memory://"), Diagnoses)


@pytest.mark.parametrize(
    ("version", "told"),
    [((3, 40, 1), True), ((3, 44, 5), True), ((3, 44, 6), False), ((3, 50, 6), True), ((3, 50, 7), False),
     ((3, 51, 2), True), ((3, 51, 3), False), ((3, 53, 0), False)],
)  # fmt: skip
def test_an_sqlite_with_the_bug_in_its_log_is_told(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], told: bool
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    assert ("walresetbug" in diagnosis._library().value) is told


def test_an_sqlite_that_is_too_old_is_refused_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(ConfigurationError, match=r"needs SQLite 3\.37 or later"):
        bus("sqlite:///bus.db")


async def test_looking_does_not_stop_the_loop(path: Path) -> None:
    await publish(path, *range(2000))
    looking = asyncio.ensure_future(look(path))
    turns = 0
    while not looking.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 1
