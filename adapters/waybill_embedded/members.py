"""Who has the file open, who of them is alive, and how they wake one another.

A member is one open adapter. Its leases last as long as it does: one heartbeat keeps all of them. It is known to be

- dead, when the lock on its doorbell is free: the kernel frees it the moment the process ends, however it ends;
- lost, when its heartbeat is overdue: stopped, or its event loop is blocked. Its leases go to others, and when it comes
  back it finds its row gone and begins anew under another number, so that nothing it still holds can be settled.

A doorbell is a named pipe beside the file. A byte in it wakes the member, if it waits; nobody polls for messages.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sqlite3
import time
import uuid
from pathlib import Path

from waybill.errors import BrokerFileError, BrokerUnavailable
from waybill_embedded.file import Location

__all__ = ["Members"]


class Members:
    """This member, and its view of the others."""

    _rooms: dict[str, set[Members]] = {}  # noqa: RUF012 - the members of each memory bus of this process

    def __init__(self, location: Location) -> None:
        self._location = location
        self._sleepers: set[asyncio.Future[None]] = set()
        self._fd = -1
        self._bells: dict[str, int] = {}
        self._listed = 0
        self.rung = 0
        """How often this member was woken: who reads it before looking cannot miss what came meanwhile."""
        self.doorbell = ""
        self.id = 0
        """This member's number; changes when it was given up for lost. 0: none yet."""

    def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._location.path is None:
            self.doorbell = uuid.uuid4().hex
            self._rooms.setdefault(self._location.name, set()).add(self)
            return
        folder = Path(self._location.members)
        name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        try:
            folder.mkdir(exist_ok=True)
            os.mkfifo(folder / f".{name}")
            self._fd = os.open(folder / f".{name}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (folder / f".{name}").rename(folder / name)  # complete before anyone can see it
        except OSError as error:
            kind = BrokerUnavailable if error.errno in {errno.ENOSPC, errno.EDQUOT} else BrokerFileError
            raise kind(f"{folder} cannot hold this process's doorbell: {error}") from error
        self.doorbell = name

    def close(self) -> None:
        if self._location.path is None:
            room = self._rooms.get(self._location.name, set())
            room.discard(self)
            if not room:
                self._rooms.pop(self._location.name, None)
            return
        self._loop.remove_reader(self._fd)
        (Path(self._location.members) / self.doorbell).unlink(missing_ok=True)
        os.close(self._fd)
        for fd in self._bells.values():
            os.close(fd)
        self._bells.clear()

    # ---------------------------------------------------------------- the heartbeat

    def session(self, connection: sqlite3.Connection, lease: float) -> int:
        """Make sure that this member has a number and is not overdue for `lease` seconds. Inside a transaction."""
        expires = time.monotonic() + lease
        if self.id and self.renew(connection, expires):
            return self.id
        cursor = connection.execute("INSERT INTO members (doorbell, expires) VALUES (?, ?)", (self.doorbell, expires))
        self.id = cursor.lastrowid or 0
        return self.id

    def renew(self, connection: sqlite3.Connection, expires: float) -> bool:
        """Whether this member still has its number; if so it is not overdue before `expires`."""
        renewed = connection.execute(
            "UPDATE members SET expires = max(expires, ?) WHERE id = ? AND doorbell = ? AND expires >= ?",
            (expires, self.id, self.doorbell, time.monotonic()),
        )
        return renewed.rowcount > 0

    def alive(self, connection: sqlite3.Connection) -> bool:
        """Whether this member still has its number."""
        return (
            connection.execute(
                "SELECT 1 FROM members WHERE id = ? AND doorbell = ?", (self.id, self.doorbell)
            ).fetchone()
            is not None
        )

    def gone(self, connection: sqlite3.Connection) -> list[tuple[int, bool]]:
        """The other members that are dead or lost, as (number, whether dead)."""
        now = time.monotonic()
        found: list[tuple[int, bool]] = []
        for number, doorbell, expires in connection.execute("SELECT id, doorbell, expires FROM members"):
            dead = self._is_dead(doorbell)
            if dead or expires < now:
                found.append((number, dead))
        return found

    def orphans(self, connection: sqlite3.Connection) -> list[tuple[int, str]]:
        """The groups that go with a process, and whose process is dead; each with its doorbell."""
        found = connection.execute("SELECT id, member FROM groups WHERE member IS NOT NULL").fetchall()
        return [(group, doorbell) for group, doorbell in found if self._is_dead(doorbell)]

    def forget_patterns(self, connection: sqlite3.Connection) -> None:
        """The patterns that go with a process, and whose process is dead."""
        found = connection.execute("SELECT id, member FROM patterns WHERE member IS NOT NULL").fetchall()
        dead = [(pattern,) for pattern, doorbell in found if self._is_dead(doorbell)]
        connection.executemany("DELETE FROM patterns WHERE id = ?", dead)

    def bury(self, connection: sqlite3.Connection, number: int, *, dead: bool) -> None:
        """Forget a member. A dead one's doorbell goes too."""
        row = connection.execute("DELETE FROM members WHERE id = ? RETURNING doorbell", (number,)).fetchone()
        if dead and row is not None and self._location.path is not None:
            (Path(self._location.members) / row[0]).unlink(missing_ok=True)

    def _is_dead(self, doorbell: str) -> bool:
        if self._location.path is None or doorbell == self.doorbell:
            return False
        try:
            fd = os.open(Path(self._location.members) / doorbell, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return True  # the file was copied or moved without its members: none of them can have followed
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            os.close(fd)

    # ---------------------------------------------------------------- the doorbells

    async def wait(self, timeout: float, since: int) -> None:  # noqa: ASYNC109 - being woken is the point
        """Wait until somebody rings, or `timeout` seconds. Not at all, if somebody has since `rung` was `since`."""
        if self.rung != since:
            return
        if self._fd >= 0 and not self._sleepers:
            self._loop.add_reader(self._fd, self._answer)
        rung: asyncio.Future[None] = self._loop.create_future()
        self._sleepers.add(rung)
        try:
            async with asyncio.timeout(timeout):
                await rung
        except TimeoutError:
            pass
        finally:
            self._sleepers.discard(rung)
            if self._fd >= 0 and not self._sleepers:
                self._loop.remove_reader(self._fd)

    def wake(self) -> None:
        """Wake all who wait in this member."""
        self.rung += 1
        for rung in self._sleepers:
            if not rung.done():
                rung.set_result(None)

    def ring(self) -> None:
        """Wake everyone: there may be something for them."""
        self.wake()
        if self._location.path is None:
            for member in self._rooms.get(self._location.name, ()):
                if member is not self:
                    member._loop.call_soon_threadsafe(member.wake)
            return
        self._list()
        for name, fd in list(self._bells.items()):
            try:
                os.write(fd, b"!")
            except BlockingIOError:
                pass  # full: it has been rung often enough
            except OSError:
                os.close(fd)
                del self._bells[name]

    def _answer(self) -> None:
        try:
            while len(os.read(self._fd, 4096)) == 4096:
                pass
        except BlockingIOError:
            pass
        self.wake()

    def _list(self) -> None:
        """Open the doorbells of members that have come, if the folder has changed."""
        folder = self._location.members
        try:
            changed = os.stat(folder).st_mtime_ns  # noqa: PTH116 - once a commit: a Path costs more than the call
            if changed == self._listed:
                return
            names = {name for name in os.listdir(folder) if not name.startswith(".") and name != self.doorbell}  # noqa: PTH208
        except OSError:
            return  # the folder is gone, and with it everyone to wake; they look for themselves once a second
        if (
            time.time_ns() - changed > 100_000_000
        ):  # the clock of a file system is coarse: a fresh change may hide another
            self._listed = changed
        for name in names - self._bells.keys():
            try:
                self._bells[name] = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nobody listens any more: killed, perhaps before it had a number
                    Path(folder, name).unlink(missing_ok=True)
                # anything else: it cannot be rung, and looks for itself once a second
        for name in self._bells.keys() - names:
            os.close(self._bells.pop(name))
