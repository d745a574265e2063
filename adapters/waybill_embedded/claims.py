"""What a group takes from the log, and what becomes of it: the statements, as functions over one connection.

States of an entry:

    READY      may be handed out when it is due          LEASED    handed out to `owner`
    PARKED     behind another of its key                 LATER     a keyed message with a due time of its own

Rules (for ordered groups; unordered ones know READY and LEASED only):
- A key has at most one member at a time: a message of a key is leased only if every other entry of that key is leased
  to the same member. Otherwise it is parked.
- A parked entry becomes ready when it is the first of its key and nothing of that key is leased, ready or waiting.
  So a retry keeps its key's later messages back, whoever holds them.
- A retry is leased again when nothing of its key is any more: what was handed out behind it must be given back first, or
  it would be passed by what came later still, which goes out with the retry.
- LATER joins the line of its key when it is due; until then it holds nobody up.

An entry that was leased when its holder died is a suspect (`crashes`): suspects are handed out one at a time, so that a
message that kills processes is told from those that were merely near it. The first death is not held against any.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import msgspec

__all__ = [
    "Claimed",
    "Group",
    "acknowledge",
    "claim",
    "defer",
    "forget_keys",
    "forget_old",
    "has_keys",
    "promote",
    "release",
    "release_owner",
    "waiting",
]

READY, LEASED, PARKED, LATER = range(4)


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """One entry, leased, with its message."""

    seq: int
    lane: str | None
    attempts: int
    first_failure: float | None
    handed: int
    crashes: int
    key: str | None
    message: str
    body: bytes | None


class Group(NamedTuple):
    """The numbers of a subscription, and which messages are for it: SQL over a row of `messages`, and its values."""

    topic: int
    id: int
    ordered: bool
    only: str = ""
    values: Mapping[str, object] = MappingProxyType({})


def waiting(connection: sqlite3.Connection, group: Group, now: float) -> tuple[bool, float | None]:
    """Whether there is something to claim, and when the next becomes due. Reads only; may be out of date."""
    row = connection.execute(_WAITING, {"topic": group.topic, "grp": group.id, "now": now}).fetchone()
    something, *dues = row
    return bool(something), min((due for due in dues if due is not None), default=None)


_WAITING = f"""
    SELECT EXISTS (SELECT 1 FROM messages WHERE topic = :topic AND seq > (SELECT cursor FROM groups WHERE id = :grp))
        OR EXISTS (SELECT 1 FROM entries WHERE grp = :grp AND state = {READY} AND due <= :now)
        OR EXISTS (SELECT 1 FROM entries WHERE grp = :grp AND state = {LATER} AND due <= :now),
        (SELECT min(due) FROM entries WHERE grp = :grp AND state = {READY} AND due > :now),
        (SELECT min(due) FROM entries WHERE grp = :grp AND state = {LATER} AND due > :now)"""


def forget_keys(connection: sqlite3.Connection, group: Group) -> None:
    """The group was ordered and is so no more: nothing waits behind anything."""
    connection.execute(
        "UPDATE entries SET key = NULL, state = iif(state = ?, ?, ?) WHERE grp = ? AND key IS NOT NULL",
        (LEASED, LEASED, READY, group.id),
    )


def has_keys(connection: sqlite3.Connection, group: Group) -> bool:
    """Whether anything of the group has been taken in order."""
    return (
        connection.execute("SELECT 1 FROM entries WHERE grp = ? AND key IS NOT NULL LIMIT 1", (group.id,)).fetchone()
        is not None
    )


def claim(
    connection: sqlite3.Connection, group: Group, *, owner: int, now: float, limit: int, suspects: bool
) -> tuple[list[Claimed], bool]:
    """Lease at most `limit` entries to `owner`, in order. `suspects`: whether one suspect may be among them.

    And whether the log was read further: then there may be more behind, even if nothing of it was for `owner` now.
    """
    if group.ordered:
        _join_lines(connection, group, now)
    claimed = _claim_waiting(connection, group, owner, now, limit, suspects=suspects)
    if len(claimed) == limit:
        return claimed, False
    new, moved = _claim_new(connection, group, owner, now, limit - len(claimed))
    return claimed + new, moved


def _claim_waiting(
    connection: sqlite3.Connection, group: Group, owner: int, now: float, limit: int, *, suspects: bool
) -> list[Claimed]:
    room = {"grp": group.id, "now": now, "limit": limit}
    heads = connection.execute(_HEADS.format(only=""), room).fetchall()
    if not heads:
        return []
    blamed = [seq for seq, _, crashes in heads if crashes][: 1 if suspects else 0]
    if blamed:
        heads = [head for head in heads if head[0] == blamed[0]]  # a suspect is handed out alone
    elif any(crashes for _, _, crashes in heads):
        heads = connection.execute(_HEADS.format(only="AND crashes = 0"), room).fetchall()
    seqs = [seq for seq, _, _ in heads]
    if group.ordered and not blamed and len(seqs) < limit:
        keys = [key for _, key, _ in heads if key is not None]
        seqs += _followers(connection, group, keys, limit - len(seqs))
    if not seqs:
        return []
    listed = json.dumps(seqs)
    connection.execute(
        "UPDATE entries SET state = ?, owner = ?, handed = handed + 1 WHERE grp = ? AND seq IN (SELECT value FROM json_each(?))",
        (LEASED, owner, group.id, listed),
    )
    rows = connection.execute(
        """SELECT e.seq, e.key, e.attempts, e.first_failure, e.handed, e.crashes, m.key, m.message, m.body
           FROM entries e JOIN messages m ON m.seq = e.seq
           WHERE e.grp = ? AND e.seq IN (SELECT value FROM json_each(?)) ORDER BY e.seq""",
        (group.id, listed),
    )
    return [Claimed(*row) for row in rows]


_HEADS = f"""
    SELECT seq, key, crashes FROM entries
    WHERE grp = :grp AND state = {READY} AND due <= :now {{only}} AND NOT EXISTS (
        SELECT 1 FROM entries e WHERE e.grp = :grp AND e.key = entries.key AND e.state = {LEASED})
    ORDER BY due, seq LIMIT :limit"""


def _followers(connection: sqlite3.Connection, group: Group, keys: Sequence[str], room: int) -> list[int]:
    """Those parked behind these keys' heads, in order, up to the first suspect of each key."""
    if not keys:
        return []
    taken: list[int] = []
    stopped: set[str] = set()
    rows = connection.execute(
        """SELECT seq, key, crashes FROM entries
           WHERE grp = ? AND state = ? AND key IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT ?""",
        (group.id, PARKED, json.dumps(keys), room),
    )
    for seq, key, crashes in rows:
        if crashes:
            stopped.add(key)
        if key not in stopped:
            taken.append(seq)
    return taken


def _claim_new(
    connection: sqlite3.Connection, group: Group, owner: int, now: float, limit: int
) -> tuple[list[Claimed], bool]:
    (cursor,) = connection.execute("SELECT cursor FROM groups WHERE id = ?", (group.id,)).fetchone()
    rows = connection.execute(
        """SELECT seq, target, due, key, message, body FROM messages
           WHERE topic = ? AND seq > ? ORDER BY seq LIMIT ?""",
        (group.topic, cursor, limit),
    ).fetchall()
    if not rows:
        return [], False
    last = rows[-1][0]
    span = {
        "owner": owner, "grp": group.id, "topic": group.topic, "cursor": cursor, "last": last, "now": now,
        "READY": READY, "LEASED": LEASED, "PARKED": PARKED, "LATER": LATER, **group.values,
    }  # fmt: skip
    connection.execute((_TAKE_ORDERED if group.ordered else _TAKE).format(only=group.only), span)
    connection.execute("UPDATE groups SET cursor = ? WHERE id = ?", (last, group.id))
    mine: set[int] | None = None
    if group.ordered or group.only:
        taken = connection.execute(
            "SELECT seq, state FROM entries WHERE grp = ? AND seq > ? AND seq <= ?", (group.id, cursor, last)
        ).fetchall()
        mine = {seq for seq, state in taken if state == LEASED}
        if group.only and len(taken) < len(rows):
            _pass_by(connection, group, {row[0] for row in rows if row[1] is None} - {seq for seq, _ in taken}, now)
    claimed = [
        Claimed(seq, key if group.ordered else None, 0, None, 1, 0, key, message, body)
        for seq, target, due, key, message, body in rows
        if (target is None or target == group.id) and (seq in mine if mine is not None else (due is None or due <= now))
    ]
    return claimed, True


def _pass_by(connection: sqlite3.Connection, group: Group, seqs: set[int], now: float) -> None:
    """These are not for this group: it need not handle them, and they go if nobody else needs them."""
    if seqs:
        _count_down(connection, group, len(seqs))
        _forget_messages(connection, group, sorted(seqs), now)


_TAKE = """
    INSERT INTO entries (grp, seq, key, state, owner, due, attempts, first_failure, handed, crashes)
    SELECT :grp, seq, NULL, iif(due > :now, :READY, :LEASED), iif(due > :now, NULL, :owner), coalesce(due, 0), 0, NULL,
           iif(due > :now, 0, 1), 0
    FROM messages WHERE topic = :topic AND seq > :cursor AND seq <= :last AND (target = :grp OR (target IS NULL {only}))"""

_TAKE_ORDERED = """
    INSERT INTO entries (grp, seq, key, state, owner, due, attempts, first_failure, handed, crashes)
    SELECT :grp, seq, key, state, iif(state = :LEASED, :owner, NULL), due, 0, NULL, iif(state = :LEASED, 1, 0), 0
    FROM (SELECT seq, key, coalesce(due, 0) AS due,
              CASE WHEN due > :now THEN iif(key IS NULL, :READY, :LATER)
                   WHEN key IS NULL THEN :LEASED
                   WHEN EXISTS (SELECT 1 FROM entries e WHERE e.grp = :grp AND e.key = messages.key AND e.state <> :LATER
                                AND NOT (e.state = :LEASED AND e.owner = :owner)) THEN :PARKED
                   ELSE :LEASED END AS state
          FROM messages WHERE topic = :topic AND seq > :cursor AND seq <= :last AND (target = :grp OR (target IS NULL {only})))"""


def acknowledge(connection: sqlite3.Connection, group: Group, seqs: Sequence[int], now: float) -> None:
    """Forget entries, and the messages that no group needs any more."""
    which, values = _among(seqs)
    connection.execute(f"DELETE FROM entries WHERE grp = :grp AND {which}", {"grp": group.id, **values})
    _count_down(connection, group, len(seqs))
    _forget_messages(connection, group, seqs, now)


def _among(seqs: Sequence[int]) -> tuple[str, dict[str, object]]:
    """A condition for these numbers. A run of them, which is usual, is found without looking each of them up."""
    first, last = min(seqs), max(seqs)
    if last - first + 1 == len(seqs):
        return "seq BETWEEN :first AND :last", {"first": first, "last": last}
    return "seq IN (SELECT value FROM json_each(:seqs))", {"seqs": json.dumps(seqs)}


def _count_down(connection: sqlite3.Connection, group: Group, number: int) -> None:
    """So many fewer to handle, where that is counted."""
    connection.execute(
        "UPDATE groups SET waiting = waiting - ? WHERE id = ? AND waiting IS NOT NULL", (number, group.id)
    )


def _forget_messages(connection: sqlite3.Connection, group: Group, seqs: Sequence[int], now: float) -> None:
    which, values = _among(seqs)
    values |= {"topic": group.topic, "grp": group.id, "now": now}
    alone = connection.execute("SELECT count(*) FROM groups WHERE topic = ?", (group.topic,)).fetchone()[0] == 1
    unneeded = "" if alone else f"AND {_UNNEEDED}"
    connection.execute(
        f"""DELETE FROM messages WHERE {which} AND (target IS NULL OR target = :grp)
            AND (kept_until IS NULL OR kept_until < :now) {unneeded}""",
        values,
    )


_UNNEEDED = """(target IS NOT NULL OR NOT EXISTS (
    SELECT 1 FROM groups g WHERE g.topic = :topic AND g.id <> :grp AND (g.cursor < messages.seq
    OR EXISTS (SELECT 1 FROM entries e WHERE e.grp = g.id AND e.seq = messages.seq))))"""


def forget_old(connection: sqlite3.Connection, topic: int, now: float) -> None:
    """What a topic has kept for as long as it promised goes, unless a group still needs it; remembered ids as well."""
    connection.execute(
        """DELETE FROM messages WHERE topic = :topic AND kept_until < :now AND NOT EXISTS (
               SELECT 1 FROM groups g WHERE g.topic = :topic AND (g.cursor < messages.seq
               OR EXISTS (SELECT 1 FROM entries e WHERE e.grp = g.id AND e.seq = messages.seq)))""",
        {"topic": topic, "now": now},
    )
    connection.execute("DELETE FROM seen WHERE topic = ? AND until < ?", (topic, now))


def defer(
    connection: sqlite3.Connection, group: Group, deferred: Iterable[tuple[int, float, int, float | None, bool]]
) -> None:
    """Let entries wait: (seq, due, attempts, first failure, whether its key goes on without it)."""
    connection.executemany(
        """UPDATE entries SET state = ?, owner = NULL, due = ?, attempts = ?, first_failure = ?, crashes = 0,
           key = iif(?, NULL, key)
           WHERE grp = ? AND seq = ?""",
        [(READY, due, attempts, first, relaxed, group.id, seq) for seq, due, attempts, first, relaxed in deferred],
    )


def release(
    connection: sqlite3.Connection, group: Group, seqs: Sequence[int], attempts: Iterable[tuple[int, int]] = ()
) -> None:
    """Give entries back. `attempts`: (attempts, seq) of those that were tried again where they were held."""
    connection.executemany(f"UPDATE entries SET attempts = ? WHERE grp = {group.id:d} AND seq = ?", attempts)
    connection.execute(
        """UPDATE entries SET state = iif(key IS NULL, ?, ?), owner = NULL, due = 0
           WHERE grp = ? AND seq IN (SELECT value FROM json_each(?))""",
        (READY, PARKED, group.id, json.dumps(seqs)),
    )


def release_owner(
    connection: sqlite3.Connection, owner: int, *, group: int | None = None, crashed: bool = False
) -> bool:
    """Give back all that a member holds (in one group, or everywhere). Whether it held anything."""
    given = connection.execute(
        """UPDATE entries SET state = iif(key IS NULL, ?, ?), owner = NULL, due = 0, crashes = crashes + ?
           WHERE state = ? AND owner = ? AND (? IS NULL OR grp = ?) RETURNING grp, key""",
        (READY, PARKED, int(crashed), LEASED, owner, group, group),
    ).fetchall()
    connection.execute("UPDATE dead SET owner = NULL WHERE owner = ? AND (? IS NULL OR grp = ?)", (owner, group, group))
    keys: dict[int, set[str]] = {}
    for grp, key in given:
        if key is not None:
            keys.setdefault(grp, set()).add(key)
    for grp, names in keys.items():
        promote(connection, grp, names)
    return bool(given)


def promote(connection: sqlite3.Connection, group: int, keys: Iterable[str]) -> bool:
    """Make the first of each of these keys ready, where nothing of the key is leased, ready or waiting for a retry."""
    if (
        connection.execute("SELECT 1 FROM entries WHERE grp = ? AND state = ? LIMIT 1", (group, PARKED)).fetchone()
        is None
    ):
        return False
    promoted = connection.execute(
        """UPDATE entries SET state = :READY WHERE grp = :grp AND seq IN (
               SELECT min(seq) FROM entries
               WHERE grp = :grp AND key IN (SELECT value FROM json_each(:keys)) AND state <> :LATER
               GROUP BY key HAVING max(state <> :PARKED) = 0)""",
        {"grp": group, "keys": json.dumps(list(keys)), "READY": READY, "PARKED": PARKED, "LATER": LATER},
    )
    return promoted.rowcount > 0


def _join_lines(connection: sqlite3.Connection, group: Group, now: float) -> None:
    """What had a due time of its own and has reached it takes its place in its key's line."""
    keys = connection.execute(
        "UPDATE entries SET state = ?, due = 0 WHERE grp = ? AND state = ? AND due <= ? RETURNING key",
        (PARKED, group.id, LATER, now),
    ).fetchall()
    if keys:
        promote(connection, group.id, {key for (key,) in keys})
