"""The registry's tables in PostgreSQL, as numbered steps.

A commit is one call of `keep`, which the server runs as one transaction: one way there and back, whatever the number of changes.
"""

from __future__ import annotations

__all__ = ["STEPS"]

_TABLES = """
CREATE TABLE revisions (
    revision bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), changes json NOT NULL);
CREATE TABLE schemas (
    context text NOT NULL, id bigint NOT NULL CHECK (id >= 0), guid text NOT NULL, format text NOT NULL, text text NOT NULL,
    about json NOT NULL, revision bigint NOT NULL, PRIMARY KEY (context, id), UNIQUE (context, guid));
CREATE TABLE versions (
    context text NOT NULL, subject text NOT NULL, version bigint NOT NULL CHECK (version >= 1), id bigint NOT NULL,
    at bigint NOT NULL, deleted boolean NOT NULL, revision bigint NOT NULL,
    PRIMARY KEY (context, subject, version),
    FOREIGN KEY (context, id) REFERENCES schemas (context, id) DEFERRABLE INITIALLY DEFERRED);
CREATE INDEX versions_of_schema ON versions (context, id);
CREATE TABLE "references" (
    context text NOT NULL, id bigint NOT NULL, place bigint NOT NULL, name text NOT NULL, to_context text NOT NULL,
    to_subject text NOT NULL, to_version bigint NOT NULL,
    PRIMARY KEY (context, id, place),
    FOREIGN KEY (context, id) REFERENCES schemas (context, id) ON DELETE CASCADE,
    FOREIGN KEY (to_context, to_subject, to_version) REFERENCES versions (context, subject, version)
        DEFERRABLE INITIALLY DEFERRED);
CREATE INDEX references_to_version ON "references" (to_context, to_subject, to_version);
CREATE TABLE configs (scope text PRIMARY KEY, config json NOT NULL, revision bigint NOT NULL);
CREATE TABLE modes (scope text PRIMARY KEY, mode text NOT NULL, revision bigint NOT NULL);
CREATE TABLE records (
    kind text NOT NULL, key text NOT NULL, body bytea NOT NULL, revision bigint NOT NULL, PRIMARY KEY (kind, key));
"""

_KEEP = """
CREATE FUNCTION keep(after bigint, log json, changes jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
-- Nothing, if it was kept; else the last revision, which is another than `after`. Two at once meet at the key of `revisions`.
DECLARE
    last bigint;
    change jsonb;
BEGIN
    SELECT coalesce(max(revision), 0) INTO last FROM revisions;
    IF last <> after THEN
        RETURN last;
    END IF;
    INSERT INTO revisions (revision, changes) VALUES (after + 1, log);
    FOR change IN SELECT value FROM jsonb_array_elements(changes) LOOP
        CASE change->>'type'
        WHEN 'SchemaAdded' THEN
            INSERT INTO schemas VALUES (
                change->>'context', (change->>'id')::bigint, change->>'guid', change->>'format', change->>'text',
                (change->>'about')::json, after + 1);
            INSERT INTO "references"
                SELECT context, id, place, name, to_context, to_subject, to_version
                FROM jsonb_populate_recordset(NULL::"references", change->'references');
        WHEN 'SchemaErased' THEN
            DELETE FROM schemas WHERE context = change->>'context' AND id = (change->>'id')::bigint;
        WHEN 'VersionSet' THEN
            INSERT INTO versions VALUES (
                change->>'context', change->>'subject', (change->>'version')::bigint, (change->>'id')::bigint,
                (change->>'at')::bigint, (change->>'deleted')::boolean, after + 1)
            ON CONFLICT (context, subject, version) DO UPDATE
                SET id = excluded.id, at = excluded.at, deleted = excluded.deleted, revision = excluded.revision;
        WHEN 'VersionErased' THEN
            DELETE FROM versions
            WHERE context = change->>'context' AND subject = change->>'subject' AND version = (change->>'version')::bigint;
        WHEN 'ConfigSet' THEN
            IF change->>'config' IS NULL THEN
                DELETE FROM configs WHERE scope = change->>'scope';
            ELSE
                INSERT INTO configs VALUES (change->>'scope', (change->>'config')::json, after + 1)
                ON CONFLICT (scope) DO UPDATE SET config = excluded.config, revision = excluded.revision;
            END IF;
        WHEN 'ModeSet' THEN
            IF change->>'mode' IS NULL THEN
                DELETE FROM modes WHERE scope = change->>'scope';
            ELSE
                INSERT INTO modes VALUES (change->>'scope', change->>'mode', after + 1)
                ON CONFLICT (scope) DO UPDATE SET mode = excluded.mode, revision = excluded.revision;
            END IF;
        WHEN 'RecordSet' THEN
            IF change->>'body' IS NULL THEN
                DELETE FROM records WHERE kind = change->>'kind' AND key = change->>'key';
            ELSE
                INSERT INTO records VALUES (
                    change->>'kind', change->>'key', decode(change->>'body', 'base64'), after + 1)
                ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body, revision = excluded.revision;
            END IF;
        END CASE;
    END LOOP;
    RETURN NULL;
END $$;
"""

STEPS: tuple[str, ...] = (_TABLES + _KEEP,)
"""Step n makes version n of version n - 1."""
