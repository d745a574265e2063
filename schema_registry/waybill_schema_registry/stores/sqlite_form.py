"""The registry's file of SQLite: its tables, and what each change does to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from waybill.sqlitefile.form import Form
from waybill_schema_registry.stores.rows import references, row
from waybill_schema_registry.stores.store import Change, SchemaAdded

__all__ = ["FORM", "apply"]

APPLICATION_ID = 0x57415953
"""'WAYS' in SQLite's application id."""


def _first(connection: sqlite3.Connection) -> None:
    """Version 1. Foreign keys are looked at when a transaction ends, so that changes may come in any order within it."""
    for statement in (
        "CREATE TABLE revisions (revision INTEGER PRIMARY KEY, at INTEGER NOT NULL, changes TEXT NOT NULL) STRICT",
        """CREATE TABLE schemas (
            context TEXT NOT NULL, id INTEGER NOT NULL CHECK (id >= 0), guid TEXT NOT NULL, format TEXT NOT NULL,
            text TEXT NOT NULL, about TEXT NOT NULL, revision INTEGER NOT NULL,
            PRIMARY KEY (context, id), UNIQUE (context, guid)) STRICT""",
        """CREATE TABLE versions (
            context TEXT NOT NULL, subject TEXT NOT NULL, version INTEGER NOT NULL CHECK (version >= 1), id INTEGER NOT NULL,
            at INTEGER NOT NULL, deleted INTEGER NOT NULL, revision INTEGER NOT NULL,
            PRIMARY KEY (context, subject, version),
            FOREIGN KEY (context, id) REFERENCES schemas (context, id) DEFERRABLE INITIALLY DEFERRED)
            STRICT, WITHOUT ROWID""",
        "CREATE INDEX versions_of_schema ON versions (context, id)",
        """CREATE TABLE "references" (
            context TEXT NOT NULL, id INTEGER NOT NULL, place INTEGER NOT NULL, name TEXT NOT NULL,
            to_context TEXT NOT NULL, to_subject TEXT NOT NULL, to_version INTEGER NOT NULL,
            PRIMARY KEY (context, id, place),
            FOREIGN KEY (context, id) REFERENCES schemas (context, id) ON DELETE CASCADE,
            FOREIGN KEY (to_context, to_subject, to_version) REFERENCES versions (context, subject, version)
                DEFERRABLE INITIALLY DEFERRED) STRICT, WITHOUT ROWID""",
        'CREATE INDEX references_to_version ON "references" (to_context, to_subject, to_version)',
        "CREATE TABLE configs (scope TEXT PRIMARY KEY, config TEXT NOT NULL, revision INTEGER NOT NULL) STRICT",
        "CREATE TABLE modes (scope TEXT PRIMARY KEY, mode TEXT NOT NULL, revision INTEGER NOT NULL) STRICT",
        """CREATE TABLE records (
            kind TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, revision INTEGER NOT NULL,
            PRIMARY KEY (kind, key)) STRICT""",
    ):
        connection.execute(statement)


FORM = Form(APPLICATION_ID, (_first,))

STATEMENTS = {
    "SchemaAdded": "INSERT INTO schemas VALUES (:context, :id, :guid, :format, :text, :about, :revision)",
    "SchemaErased": "DELETE FROM schemas WHERE context = :context AND id = :id",
    "VersionSet": "INSERT INTO versions VALUES (:context, :subject, :version, :id, :at, :deleted, :revision) "
    "ON CONFLICT DO UPDATE SET id = excluded.id, at = excluded.at, deleted = excluded.deleted, revision = excluded.revision",
    "VersionErased": "DELETE FROM versions WHERE context = :context AND subject = :subject AND version = :version",
    "ConfigSet": "INSERT INTO configs VALUES (:scope, :config, :revision) "
    "ON CONFLICT DO UPDATE SET config = excluded.config, revision = excluded.revision",
    "ModeSet": "INSERT INTO modes VALUES (:scope, :mode, :revision) "
    "ON CONFLICT DO UPDATE SET mode = excluded.mode, revision = excluded.revision",
    "RecordSet": "INSERT INTO records VALUES (:kind, :key, :body, :revision) "
    "ON CONFLICT DO UPDATE SET body = excluded.body, revision = excluded.revision",
}
TAKEN_AWAY = {
    "ConfigSet": ("config", "DELETE FROM configs WHERE scope = :scope"),
    "ModeSet": ("mode", "DELETE FROM modes WHERE scope = :scope"),
    "RecordSet": ("body", "DELETE FROM records WHERE kind = :kind AND key = :key"),
}
"""Which column says that a setting is gone, and what is done then."""
REFERENCE = 'INSERT INTO "references" VALUES (:context, :id, :place, :name, :to_context, :to_subject, :to_version)'


def apply(connection: sqlite3.Connection, revision: int, changes: Sequence[Change]) -> None:
    """Bring the tables to where the changes lead, one after another."""
    for change in changes:
        columns = row(change, revision)
        kind = columns.pop("type")
        value, deletion = TAKEN_AWAY.get(kind, ("", ""))
        gone = bool(value) and columns[value] is None
        connection.execute(deletion if gone else STATEMENTS[kind], columns)
        if isinstance(change, SchemaAdded):
            connection.executemany(REFERENCE, references(change))
