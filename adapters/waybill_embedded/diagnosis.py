"""What there is to know about the file, its disk and its users, and what is wrong with them: for `waybill doctor`."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from waybill.errors import BrokerError
from waybill.findings import Finding
from waybill.sqlitefile.form import code_of
from waybill.sqlitefile.guard import least_free
from waybill.sqlitefile.outside import check_log, free_space, holders, obstacle, size
from waybill_embedded.file import MIGRATIONS, Location, check_owner, connect_again, foreign
from waybill_embedded.members import Members

__all__ = ["diagnose"]

PATIENCE = 5.0
"""Seconds for checking the file's pages."""
LONG_LOG = 256 << 20
"""Bytes of log that need an explanation: it is emptied from 64 MB on, unless somebody reads and reads."""
REMOTE = re.compile(r"nfs\d?|cifs|smb\w*|9p|afs|ceph|lustre|ocfs2|gfs2?|vboxsf|fuse(\..+)?|davfs|beegfs|glusterfs")
IN_MEMORY = {"tmpfs", "ramfs"}
SQLITE_FIXED = ((3, 51, 3), (3, 50, 7), (3, 44, 6))
"""Releases without the bug of which `Engine._checkpoint` tells; and later ones of the same series."""


async def diagnose(location: Location) -> Sequence[Finding]:
    """See `waybill.findings.Diagnoses`."""
    return await asyncio.to_thread(lambda: list(_findings(location)))


def _findings(location: Location) -> Iterator[Finding]:
    yield _library()
    if location.path is None:
        yield Finding("file", "none: everything is in the memory of this process")
        return
    path = location.path
    yield _file(path)
    yield _permissions(path)
    if os.path.isdir(os.path.dirname(path)):  # noqa: PTH112, PTH120 - beside a path that is a text everywhere
        yield from _disk(path, durable=location.durable)
    if os.path.exists(path):  # noqa: PTH110
        yield _users(location)
        yield from _inside(location, path)


def _library() -> Finding:
    version = sqlite3.sqlite_version_info
    if version >= SQLITE_FIXED[0] or any(fixed[:2] == version[:2] and version >= fixed for fixed in SQLITE_FIXED):
        return Finding("sqlite", sqlite3.sqlite_version)
    return Finding(
        "sqlite",
        f"{sqlite3.sqlite_version}, with a bug in starting its log anew that Waybill keeps clear of; let no other program "
        f"write to the file (sqlite.org/wal.html#walresetbug)",
    )


def _file(path: str) -> Finding:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError as error:
        return Finding("file", f"{path}: not there yet ({error.strerror}); it is made when it is first used")
    value = f"{path}, {_megabytes(found.st_size)}"
    if found.st_nlink > 1:
        return Finding(
            "file",
            value,
            "it has several names, and each has a log of its own: those who use another name damage it",
            f"keep one: find {os.path.dirname(path)} -samefile {path}",  # noqa: PTH120
        )
    if found.st_dev != os.stat(os.path.dirname(path)).st_dev:  # noqa: PTH116, PTH120
        return Finding(
            "file",
            value,
            "it is mounted by itself, without the files beside it, so others do not see its log and its locks",
            "mount its folder instead",
        )
    return Finding("file", value)


def _permissions(path: str) -> Finding:
    try:
        found = os.stat(path)  # noqa: PTH116
        value = f"{stat.filemode(found.st_mode)}, owner {found.st_uid}, group {found.st_gid}"
    except OSError:
        value = "-"
    wrong = obstacle(path)
    trouble, _, fix = wrong.partition(": ")
    return Finding("permissions", value, trouble, fix) if wrong else Finding("permissions", value)


def _disk(path: str, *, durable: bool) -> Iterator[Finding]:
    folder = os.path.dirname(path)  # noqa: PTH120
    free, total = free_space(folder)
    least = least_free(path, total)
    value = f"{_megabytes(free)} of {_megabytes(total)}"
    if free < least:
        yield Finding(
            "free space",
            value,
            f"below {_megabytes(least)} publishing is refused",
            f"make room on the disk of {folder}",
        )
    else:
        yield Finding("free space", value)
    kind = _file_system(folder)
    if REMOTE.fullmatch(kind):
        trouble = (
            "network file systems have neither the locks nor the shared memory this needs: the file will be damaged"
        )
        yield Finding("file system", kind, trouble, "use a folder on a local disk")
    elif kind in IN_MEMORY and durable:
        trouble = "it is memory: what is confirmed is gone when the machine restarts"
        yield Finding("file system", kind, trouble, "use a folder on a disk")
    elif kind == "overlay":
        trouble = "it is the layer of a container, and goes with the container"
        yield Finding("file system", kind, trouble, "mount a volume for the folder")
    else:
        yield Finding("file system", kind)


def _file_system(folder: str) -> str:
    """The kind of file system a folder lies on; `unknown` where the system does not say."""
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return "unknown"
    kind, longest = "unknown", -1
    for line in lines:
        _, point, found, *_ = line.split(" ")
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point)
        inside = folder == point or folder.startswith(f"{point.rstrip('/')}/")
        if inside and len(point) >= longest:  # the later of two hides the earlier
            kind, longest = found, len(point)
    return kind


def _users(location: Location) -> Finding:
    members = Members(location)
    try:
        bells = sorted(name for name in os.listdir(location.members) if not name.startswith("."))  # noqa: PTH208
    except OSError:
        bells = []
    living = [bell.partition("-")[0] for bell in bells if not members._is_dead(bell)]
    others = [name for name in holders(location.name) if not name.endswith(tuple(f"(process {p})" for p in living))]
    value = f"{len(living)} of Waybill" + (f" (processes {', '.join(living)})" if living else "")
    return Finding("open in", value + (f"; and {', '.join(others)}" if others else ""))


def _inside(location: Location, path: str) -> Iterator[Finding]:
    log = f"{path}-wal"
    try:
        check_log(path)
        with closing(connect_again(location)) as connection:
            check_owner(connection, location)
            yield _log(path, log)
            yield _version(connection)
            yield _check(connection)
    except (BrokerError, sqlite3.Error) as error:
        ours = error if isinstance(error, BrokerError) else foreign(error, location)
        yield Finding("content", "cannot be read", str(ours))


def _log(path: str, log: str) -> Finding:
    if size(log) <= LONG_LOG:
        return Finding("log", _megabytes(size(log)))
    readers = ", ".join(holders(path)) or "see who has it open"
    return Finding(
        "log",
        _megabytes(size(log)),
        "it is not emptied, because some program has been reading for long",
        f"end its transaction, or the program: {readers}",
    )


def _version(connection: sqlite3.Connection) -> Finding:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    value = f"version {version}, journal mode {mode}"
    if version > len(MIGRATIONS):
        return Finding(
            "form", value, f"this Waybill knows version {len(MIGRATIONS)} and refuses it", "upgrade this installation"
        )
    return Finding("form", value)


def _check(connection: sqlite3.Connection) -> Finding:
    end = time.monotonic() + PATIENCE
    connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        if code_of(error) == "SQLITE_INTERRUPT":
            return Finding("check", f"nothing wrong in the part that could be read within {PATIENCE:g} s")
        found = str(error)
    if found == "ok":
        return Finding("check", "ok")
    return Finding(
        "check",
        str(found),
        "the file is damaged",
        "stop all processes, keep a copy, and restore a backup or try `sqlite3 FILE .recover`",
    )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count < 1e9 else f"{count / 1e9:,.1f} GB"
