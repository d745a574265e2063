"""The embedded broker's file: its URL, its connection, its schema and the versions of it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from waybill.errors import BrokerError, BrokerFileError, BrokerUnavailable, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["APPLICATION_ID", "Location", "connect", "locate", "mapped", "migrate"]

APPLICATION_ID = 0x57415942
"""'WAYB' in SQLite's application id, so that `file` and we know whose file it is."""

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
    path = os.path.abspath(path)  # noqa: PTH100 - the working directory may change later; the file may not
    return Location(path, path, durable=sync == "full")


# --------------------------------------------------------------------------- errors

_UNAVAILABLE = {"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL", "SQLITE_INTERRUPT"}
_FIX = {
    "SQLITE_CANTOPEN": "it cannot be opened: check that its folder exists and may be written to",
    "SQLITE_READONLY": "it cannot be written to: check the permissions of the file and of its folder",
    "SQLITE_PERM": "it cannot be written to: check the permissions of the file and of its folder",
    "SQLITE_FULL": "the disk is full: make room; what was confirmed is safe",
    "SQLITE_CORRUPT": "it is damaged: stop all processes, keep a copy, and restore a backup or try `sqlite3 FILE .recover`",
    "SQLITE_NOTADB": "it is not an SQLite file: name another one",
    "SQLITE_IOERR": "the disk reports an error",
}


@contextmanager
def mapped(location: Location) -> Generator[None, None, None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise foreign(error, location) from error


def foreign(error: sqlite3.Error, location: Location) -> BrokerError:
    """Our error for one of SQLite's."""
    code = getattr(error, "sqlite_errorname", None) or ""
    short = "_".join(code.split("_")[:2])
    if short in _UNAVAILABLE:
        return BrokerUnavailable(f"{location.name}: another program holds the file locked ({error})")
    return BrokerFileError(
        f"{location.name}: {_FIX.get(short, 'SQLite reports an error')} ({code or type(error).__name__}: {error})"
    )


# --------------------------------------------------------------------------- schema


def connect(location: Location) -> sqlite3.Connection:
    """A connection in our mode: transactions by hand, usable from the engine's helper thread."""
    if location.path is None:
        connection = sqlite3.connect(
            f"file:waybill-{location.name}?mode=memory&cache=shared",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
    else:
        connection = sqlite3.connect(location.path, isolation_level=None, check_same_thread=False, timeout=0)
    if location.path is None:
        connection.execute("PRAGMA read_uncommitted = ON")  # what is read outside a turn is a hint only
    connection.text_factory = partial(str, encoding="utf-8", errors="backslashreplace")  # others may write no UTF-8
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


def prepare(connection: sqlite3.Connection, location: Location) -> None:
    """Bring a new or older file to this version. The caller holds the file's turn. Raises `BrokerFileError`."""
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if owner != APPLICATION_ID and tables:
        raise BrokerFileError(
            f"{location.name} is an SQLite file of another program: name a file of its own for Waybill"
        )
    if location.path is not None:
        connection.execute("PRAGMA journal_mode = WAL")
    migrate(connection, location)


def migrate(connection: sqlite3.Connection, location: Location) -> None:
    """Apply every migration the file has not seen, each in a transaction of its own."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise BrokerFileError(
            f"{location.name} was written by a later version of Waybill (file version {version}, this one knows "
            f"{len(MIGRATIONS)}): upgrade this installation, or use another file. Nothing was changed"
        )
    for number, migration in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            migration(connection)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


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
