"""The tables of the index.

- `letters` is narrow, so that walking through all of a million takes a tenth of a second; what is shown stands beside it.
- A letter's number is its place in the order of time (`numbers`), so that pages, spans of time and searches need no sorting.
- A group is what failed alike: `tallies` counts its letters by state and owner, by triggers, so that no question counts.
"""

from __future__ import annotations

import sqlite3

__all__ = ["first"]

STATEMENTS = (
    "CREATE TABLE places (id INTEGER PRIMARY KEY, topic TEXT NOT NULL, consumers TEXT NOT NULL, UNIQUE (topic, consumers)) STRICT",
    """CREATE TABLE groups (
        id INTEGER PRIMARY KEY, place INTEGER NOT NULL REFERENCES places, fingerprint TEXT NOT NULL, type TEXT NOT NULL,
        reason TEXT NOT NULL, disposition TEXT NOT NULL, open INTEGER NOT NULL DEFAULT 0,
        UNIQUE (place, fingerprint, type, reason, disposition)) STRICT""",
    "CREATE INDEX groups_by_size ON groups (open, id)",
    "CREATE INDEX groups_by_fingerprint ON groups (fingerprint)",
    "CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT",
    "INSERT INTO names VALUES (0, '')",
    """CREATE TABLE letters (
        number INTEGER PRIMARY KEY, cluster INTEGER NOT NULL REFERENCES groups, state INTEGER NOT NULL,
        owner INTEGER NOT NULL DEFAULT 0, operation INTEGER NOT NULL DEFAULT 0, gone INTEGER NOT NULL DEFAULT 0) STRICT""",
    "CREATE INDEX letters_by_group ON letters (cluster, state)",
    "CREATE INDEX letters_by_state ON letters (state)",
    "CREATE INDEX letters_by_operation ON letters (operation) WHERE operation > 0",
    "CREATE INDEX letters_by_owner ON letters (owner) WHERE owner > 0",
    """CREATE TABLE details (
        number INTEGER PRIMARY KEY REFERENCES letters ON UPDATE CASCADE ON DELETE CASCADE, place INTEGER NOT NULL,
        id TEXT NOT NULL, key TEXT, record BLOB NOT NULL, redrives INTEGER NOT NULL, expires INTEGER, edit_of TEXT NOT NULL,
        visits INTEGER NOT NULL, came_back INTEGER NOT NULL, ticket TEXT NOT NULL DEFAULT '', note TEXT NOT NULL DEFAULT '',
        came INTEGER NOT NULL, changed INTEGER NOT NULL, UNIQUE (id, place)) STRICT""",
    """CREATE TABLE messages (
        number INTEGER PRIMARY KEY REFERENCES letters ON UPDATE CASCADE ON DELETE CASCADE, message BLOB NOT NULL) STRICT""",
    "CREATE VIRTUAL TABLE words USING fts5 (text, columnsize=0)",
    """CREATE TABLE tallies (
        cluster INTEGER NOT NULL REFERENCES groups, state INTEGER NOT NULL, owner INTEGER NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (cluster, state, owner)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE audit (
        number INTEGER PRIMARY KEY, at INTEGER NOT NULL, by TEXT NOT NULL, verb TEXT NOT NULL, why TEXT NOT NULL,
        operation TEXT NOT NULL, topic TEXT NOT NULL, consumers TEXT NOT NULL, id TEXT NOT NULL, before TEXT NOT NULL,
        after TEXT NOT NULL, count INTEGER NOT NULL) STRICT""",
    "CREATE INDEX audit_of_letter ON audit (id, number) WHERE id != ''",
    "CREATE INDEX audit_of_operation ON audit (operation, number) WHERE operation != ''",
    "CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit is never changed'); END",
)

ADD = """INSERT INTO tallies VALUES (new.cluster, new.state, new.owner, 1)
    ON CONFLICT DO UPDATE SET count = count + 1;
    UPDATE groups SET open = open + 1 WHERE id = new.cluster AND new.state <= 3;"""
TAKE = """UPDATE tallies SET count = count - 1 WHERE cluster = old.cluster AND state = old.state AND owner = old.owner;
    UPDATE groups SET open = open - 1 WHERE id = old.cluster AND old.state <= 3;"""
CHANGE = """UPDATE tallies SET count = count - 1 WHERE cluster = old.cluster AND state = old.state AND owner = old.owner;
    INSERT INTO tallies VALUES (new.cluster, new.state, new.owner, 1) ON CONFLICT DO UPDATE SET count = count + 1;
    UPDATE groups SET open = open - 1
        WHERE id = old.cluster AND old.state <= 3 AND (new.state > 3 OR new.cluster != old.cluster);
    UPDATE groups SET open = open + 1
        WHERE id = new.cluster AND new.state <= 3 AND (old.state > 3 OR new.cluster != old.cluster);"""
"""Most changes are from one open state to another, which is none of the group's size."""
TRIGGERS = (
    f"CREATE TRIGGER letter_comes AFTER INSERT ON letters BEGIN {ADD} END",
    f"CREATE TRIGGER letter_goes AFTER DELETE ON letters BEGIN {TAKE} END",
    f"CREATE TRIGGER letter_changes AFTER UPDATE OF cluster, state, owner ON letters BEGIN {CHANGE} END",
)


def first(connection: sqlite3.Connection) -> None:
    """Version 1."""
    for statement in (*STATEMENTS, *TRIGGERS):
        connection.execute(statement)
