"""The embedded broker's file: its URL, its connection, its schema and the versions of it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from waybill.errors import BrokerError, BrokerFileError, ConfigurationError
from waybill.sqlitefile import form
from waybill.sqlitefile.form import look

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = [
    "APPLICATION_ID",
    "InDoubt",
    "Location",
    "check_owner",
    "connect",
    "connect_again",
    "foreign",
    "locate",
    "mapped",
    "migrate",
    "prepare",
]

APPLICATION_ID = 0x57415942
"""'WAYB' in SQLite's application id, so that `file` and we know whose file it is."""

OLDEST = (3, 37)
"""The first SQLite with tables that check their columns' types (`STRICT`)."""

_anonymous = count(1)


class Options(BaseModel):
    """`?sync=…` in the URL, or `[broker.embedded]` in `waybill.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sync: str = "full"
    """`full`: a confirmed message survives a power cut. `normal`: it survives the death of any process, but a power cut
    may take the last moments with it; publishing is then free of flushes to the disk."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where the messages lie. `path` is `None` for memory, which `name` tells apart within one process."""

    path: str | None
    name: str
    durable: bool

    @property
    def members(self) -> str:
        """The folder of the members' doorbells beside the file."""
        return f"{self.path}-members"


def locate(url: str, options: Mapping[str, Any]) -> Location:
    """What a `sqlite:///path?sync=…` or `memory://name` URL means. Raises `ConfigurationError`."""
    if sqlite3.sqlite_version_info < OLDEST:
        raise ConfigurationError(
            f"the embedded broker needs SQLite {'.'.join(map(str, OLDEST))} or later, and this Python has "
            f"{sqlite3.sqlite_version}: use a Python that was built with a newer one"
        )
    parts = urlsplit(url)
    given = {**options, **dict(parse_qsl(parts.query, keep_blank_values=True))}
    try:
        sync = Options.model_validate(given).sync
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise ConfigurationError(f"{url}: {found}. The embedded broker knows `sync`") from None
    if sync not in {"full", "normal"}:
        raise ConfigurationError(
            f"{url}: sync is `full` (the default, safe against power loss) or `normal`, not {sync!r}"
        )
    if parts.scheme == "memory":
        return Location(
            None, (parts.netloc + parts.path) or f"anonymous-{os.getpid()}-{next(_anonymous)}", durable=False
        )
    if parts.netloc:
        raise ConfigurationError(
            f"{url}: a file takes three slashes (sqlite:///bus.db, relative to the working directory) or four (sqlite:////var/lib/bus.db)"
        )
    path = unquote(parts.path.removeprefix("/"))
    if not path:
        raise ConfigurationError(f"{url} names no file: for instance sqlite:///bus.db. For memory only: memory://")
    # the working directory may change later, the file may not; and whoever comes by another way must meet the others
    path = os.path.realpath(path)
    return Location(path, path, durable=sync == "full")


# --------------------------------------------------------------------------- errors


class InDoubt(BrokerFileError):
    """A commit failed in such a way that what it wrote may be found later, or not."""


@contextmanager
def mapped(location: Location) -> Generator[None, None, None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise foreign(error, location) from error


def foreign(error: sqlite3.Error, location: Location) -> BrokerError:
    """Our error for one of SQLite's."""
    return form.foreign(error, location.name, location.path)


# --------------------------------------------------------------------------- schema


def connect(location: Location) -> sqlite3.Connection:
    """A connection in our mode: transactions by hand, usable from the engine's helper thread. Creates the file."""
    return _set_up(
        sqlite3.connect(
            f"file:waybill-{location.name}?mode=memory&cache=shared" if location.path is None else location.path,
            uri=location.path is None,
            isolation_level=None,
            check_same_thread=False,
            timeout=0,
        ),
        location,
    )


def connect_again(location: Location) -> sqlite3.Connection:
    """One more connection to a file that is there. It has read from it, so that all it needs is open."""
    assert location.path is not None  # noqa: S101 - memory goes with its last connection, and has one
    uri = f"{Path(location.path).as_uri()}?mode=rw"
    connection = _set_up(
        sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=0), location
    )
    look(connection)
    return connection


def _set_up(connection: sqlite3.Connection, location: Location) -> sqlite3.Connection:
    if location.path is None:
        connection.execute("PRAGMA read_uncommitted = ON")  # what is read outside a turn is a hint only
    connection.text_factory = partial(str, encoding="utf-8", errors="backslashreplace")  # others may write no UTF-8
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


def check_owner(connection: sqlite3.Connection, location: Location) -> None:
    """Raise `BrokerFileError` for a file that is not ours. Changes nothing and makes no files beside it."""
    form.check_owner(connection, location.name, _form())


def prepare(connection: sqlite3.Connection, location: Location) -> None:
    """Bring a new or older file to this version. The caller holds the file's turn. Raises `BrokerFileError`."""
    check_owner(connection, location)
    form.prepare(connection, location.name, location.path, lambda: migrate(connection, location))


def migrate(connection: sqlite3.Connection, location: Location) -> None:
    """Apply every migration the file has not seen, each in a transaction of its own."""
    form.migrate(connection, location.name, _form())


def _form() -> form.Form:
    return form.Form(APPLICATION_ID, MIGRATIONS)


def _first(connection: sqlite3.Connection) -> None:
    """Version 1.

    `messages` is the log; a row goes when the last group has acknowledged it. `seq` is never used twice, or a cursor
    would pass over a message. `target`: the one group the row is for.
    `entries` is what a group has taken from the log and not finished: its leases, retries and parked keys. `key` is
    set where the group is ordered, and only there, so that unordered groups pay for no index.
    """
    for statement in (
        "CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT",
        """CREATE TABLE groups (
            id INTEGER PRIMARY KEY, topic INTEGER NOT NULL REFERENCES topics (id), name TEXT NOT NULL,
            cursor INTEGER NOT NULL, UNIQUE (topic, name)) STRICT""",
        """CREATE TABLE messages (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, topic INTEGER NOT NULL, target INTEGER, key TEXT, due REAL,
            message TEXT NOT NULL, body BLOB) STRICT""",
        "CREATE INDEX messages_by_topic ON messages (topic, seq)",
        """CREATE TABLE entries (
            grp INTEGER NOT NULL, seq INTEGER NOT NULL, key TEXT, state INTEGER NOT NULL, owner INTEGER,
            due REAL NOT NULL, attempts INTEGER NOT NULL, first_failure REAL, handed INTEGER NOT NULL,
            crashes INTEGER NOT NULL, PRIMARY KEY (grp, seq)) STRICT, WITHOUT ROWID""",
        "CREATE INDEX entries_waiting ON entries (grp, state, due, seq) WHERE state IN (0, 3)",
        "CREATE INDEX entries_parked ON entries (grp, key, seq) WHERE state = 2",
        "CREATE INDEX entries_by_key ON entries (grp, key, seq) WHERE key IS NOT NULL",
        """CREATE TABLE dead (
            id INTEGER PRIMARY KEY AUTOINCREMENT, grp INTEGER NOT NULL, owner INTEGER, reason TEXT NOT NULL,
            message TEXT NOT NULL, body BLOB) STRICT""",
        "CREATE INDEX dead_by_group ON dead (grp, id)",
        "CREATE TABLE members (id INTEGER PRIMARY KEY AUTOINCREMENT, doorbell TEXT NOT NULL, expires REAL NOT NULL) STRICT",
    ):
        connection.execute(statement)


def _second(connection: sqlite3.Connection) -> None:
    """Version 2: what topics promise, and groups that are more than a name.

    topics: durations in seconds. groups: `filter`, the headers it wants, as JSON; `pattern`, what made it a share of this
    topic; `member`, the doorbell of the process it goes with; `waiting`, what it has to handle, counted where the topic's length is limited.
    `kept_until`: set where the topic keeps what was handled. `seen`: the ids that a topic would not store again.
    """
    for statement in (
        "ALTER TABLE topics ADD COLUMN retention REAL",
        "ALTER TABLE topics ADD COLUMN max_length INTEGER",
        "ALTER TABLE topics ADD COLUMN dedup_window REAL",
        "ALTER TABLE groups ADD COLUMN filter TEXT",
        "ALTER TABLE groups ADD COLUMN pattern INTEGER",
        "ALTER TABLE groups ADD COLUMN member TEXT",
        "ALTER TABLE groups ADD COLUMN waiting INTEGER",
        "CREATE INDEX groups_of_member ON groups (member) WHERE member IS NOT NULL",
        """CREATE TABLE patterns (
            id INTEGER PRIMARY KEY AUTOINCREMENT, pattern TEXT NOT NULL, name TEXT NOT NULL, filter TEXT,
            member TEXT, UNIQUE (pattern, name)) STRICT""",
        "ALTER TABLE messages ADD COLUMN kept_until REAL",
        "CREATE INDEX messages_kept ON messages (topic, kept_until) WHERE kept_until IS NOT NULL",
        """CREATE TABLE seen (
            topic INTEGER NOT NULL, id TEXT NOT NULL, body BLOB, until REAL NOT NULL, PRIMARY KEY (topic, id))
            STRICT, WITHOUT ROWID""",
        "CREATE INDEX seen_until ON seen (topic, until)",
    ):
        connection.execute(statement)


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_first, _second)
