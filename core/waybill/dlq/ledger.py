"""The tables of operations, beside those of the index: what was asked, what each letter has come to, what consumers told.

- `operation`: `target` is where the copies go, `stop` why it is to end, told to whoever carries it out, which is `runner`
  (host/process/one time of carrying it out), seen last at `beat`.
- `move`: one letter of an operation: as it was claimed, what is sent in its place where it was edited, and how far it is.
  Numbered as they are claimed, which is as they go: ids are random, and so each of them would be on a page of its own.
- `told`: what consumers say of copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = ["make"]

STATEMENTS = (
    """CREATE TABLE operation (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, verb TEXT NOT NULL, state TEXT NOT NULL, topic TEXT NOT NULL,
        grp TEXT NOT NULL, target TEXT NOT NULL, query TEXT NOT NULL, orders TEXT NOT NULL, actor TEXT NOT NULL,
        why TEXT NOT NULL, at TEXT NOT NULL, changed TEXT NOT NULL, note TEXT NOT NULL, stop TEXT NOT NULL DEFAULT '',
        runner TEXT NOT NULL DEFAULT '', beat REAL NOT NULL DEFAULT 0) STRICT""",
    """CREATE TABLE move (
        number INTEGER PRIMARY KEY, operation INTEGER NOT NULL REFERENCES operation, id TEXT NOT NULL, redrives INTEGER NOT NULL,
        fingerprint TEXT NOT NULL, copy_id TEXT NOT NULL, copy BLOB, step TEXT NOT NULL DEFAULT 'claimed',
        tries INTEGER NOT NULL DEFAULT 0, alike INTEGER NOT NULL DEFAULT 0, cause TEXT NOT NULL DEFAULT '',
        at REAL NOT NULL DEFAULT 0, UNIQUE (operation, id)) STRICT""",
    "CREATE INDEX move_by_step ON move (operation, step)",
    "CREATE INDEX move_special ON move (operation) WHERE tries > 1 OR alike > 0 OR cause != ''",
    """CREATE TABLE told (
        operation TEXT NOT NULL, id TEXT NOT NULL, handled INTEGER NOT NULL, fingerprint TEXT NOT NULL,
        PRIMARY KEY (operation, id)) STRICT, WITHOUT ROWID""",
)


def make(connection: Connection) -> None:
    """One step of the file's form."""
    for statement in STATEMENTS:
        connection.execute(statement)
