"""What can be seen of a file from outside, without opening it.

The main file and its index (`-shm`) must not be opened in any other way than through SQLite, not even to read: closing them
again takes away the locks that SQLite holds on them for this process.
"""

from __future__ import annotations

import os
import pwd
import struct
from pathlib import Path

from waybill.errors import BrokerFileError

__all__ = ["LOG_BEGINS", "SIDES", "check_log", "cut_off", "free_space", "holders", "is_full", "obstacle", "size"]

SIDES = ("-wal", "-shm")
"""SQLite's log and its index, which together with the main file make the database."""
HEADER = struct.Struct(">8I")
LOG_BEGINS = b"\x37\x7f\x06"
"""The first bytes of SQLite's log; the fourth says whether its checksums are of big-endian words."""
FULL = 64 << 10
"""Free bytes below which a failing write is put down to a full disk."""


def check_log(path: str) -> None:
    """Raise `BrokerFileError` where SQLite, opening the file, would silently throw away what its log holds.

    It does so when the file is empty or missing, and when the log's first bytes cannot be read.
    """
    log = f"{path}-wal"
    if size(log) <= HEADER.size:
        return  # nothing in it
    if not size(path):
        raise BrokerFileError(
            f"{path} is empty or missing, but {log} beside it holds what was kept: put the file back that belongs to it; or, to "
            f"begin anew without them, move {log} away"
        )
    if not _begins_well(log) and not _begins_well(log):  # twice: somebody may just be writing it
        raise BrokerFileError(
            f"{path}: its log {log} is damaged, and opening it would throw away what it holds: restore a backup; or, to go "
            f"on with what the file itself has, move {log} away"
        )


def cut_off(path: str) -> list[str]:
    """Who has the file open, of ours, where its log was deleted under them: nobody else may open it now."""
    if os.path.lexists(f"{path}-wal") or not (os.path.lexists(f"{path}-shm") or os.path.lexists(f"{path}-members")):
        return []
    return holders(path)


def _begins_well(log: str) -> bool:
    try:
        with Path(log).open("rb") as file:
            header = file.read(HEADER.size)
    except OSError:
        return True  # gone, or not ours to read: whoever opens the file will hear of that
    if len(header) < HEADER.size or not any(header):
        return True  # never written out, as after a power cut: nothing was confirmed in it
    if header[:3] != LOG_BEGINS or header[3] not in {0x82, 0x83}:
        return False
    words = HEADER.unpack(header)
    first = second = 0
    summed = struct.unpack(">6I" if words[0] & 1 else "<6I", header[:24])
    for even, odd in zip(summed[::2], summed[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return (first, second) == words[6:]


def obstacle(path: str) -> str:
    """What can be seen to keep this process from using the file, and what to do about it; else empty."""
    folder = os.path.dirname(path)  # noqa: PTH120
    user = _user()
    if os.path.isdir(path):  # noqa: PTH112
        return "it is a folder: name a file in it"
    if not os.path.isdir(folder):  # noqa: PTH112
        return f"{folder} does not exist: create it"
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return f"{folder} is mounted read-only: mount it for writing, or name a file elsewhere"
    for name in (path, *(path + suffix for suffix in (*SIDES, "-turn", "-checkpoint"))):
        if os.path.lexists(name) and not os.access(name, os.R_OK | os.W_OK):
            return f"{name} may not be written to by {user}: change its owner or permissions"
    if not os.access(folder, os.W_OK | os.X_OK):
        return (
            f"{folder} may not be written to by {user}, and files are made beside it: change its owner or permissions"
        )
    return ""


def free_space(folder: str) -> tuple[int, int]:
    """Bytes that this user may still write on the folder's disk, and how many it has; (0, 0) where it does not say."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0, 0
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def is_full(path: str) -> bool:
    """Whether nothing more fits on the file's disk."""
    free, total = free_space(os.path.dirname(path))  # noqa: PTH120
    return total > 0 and free < FULL


def _user() -> str:
    try:
        return f"user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"user {os.geteuid()}"


def holders(path: str) -> list[str]:
    """The other processes that hold a lock on the database, where the system tells (Linux, and in one container)."""
    nodes = {_node(name) for name in (path, f"{path}-shm")} - {""}
    try:
        lines = [line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines()]
    except OSError:
        return []
    found = {int(words[-4]) for words in lines if words[1] != "->" and words[-3] in nodes}
    return [f"{_program(process)} (process {process})" for process in sorted(found - {os.getpid()}) if process > 0]


def _node(path: str) -> str:
    """As it is written in the system's list of locks."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return ""
    return f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"


def _program(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "a program"


def size(path: str) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0
