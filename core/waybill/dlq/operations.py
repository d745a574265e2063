"""The operations of one index: which there are, what each has claimed, and how far each letter is. Kept in its file.

Every change is one transaction, with what it means for the letters' reviews. What a killed process leaves behind is what the
next one goes on with.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from waybill.dlq import carrying, model
from waybill.dlq.filing import read_message
from waybill.dlq.model import Action, Key, Letter, Query
from waybill.dlq.operation import (
    DISCARDING,
    ENDED,
    SENDING,
    STEPS,
    WHEN_CUT_SHORT,
    Operation,
    Orders,
    Progress,
    State,
    Step,
    Verb,
    may_become,
)  # fmt: skip
from waybill.errors import BrokerError, ConfigurationError
from waybill.ids import new_id
from waybill.message import Message
from waybill.moving import Then
from waybill.redaction import redact

if TYPE_CHECKING:
    from sqlite3 import Connection

    from waybill.dlq.index import Index
    from waybill.topology import Subscription

__all__ = ["Move", "Operations", "Told"]

PAGE = 500
BY_STEP = "INDEXED BY move_by_step"
SPECIAL = "FROM move INDEXED BY move_special WHERE operation = ? AND (tries > 1 OR alike > 0 OR cause != '')"
FIELDS = "id, verb, state, topic, grp, target, query, orders, actor, why, at, changed, note"
REVIEWS: Mapping[Step, model.State] = {
    "pending": model.State.PENDING,
    "resolved": model.State.RESOLVED,
    "discarded": model.State.DISCARDED,
    "left": model.State.UNRESOLVED,
    "freed": model.State.UNRESOLVED,
    "gone": model.State.UNRESOLVED,
    "came_back": model.State.ARCHIVED,
}
"""What a step means for the letter's review. A look archives what is gone, and finds a letter that came back by itself: only one
whose copy is another letter now, since it was mended or sent elsewhere, is done with when that is a dead letter."""


class Move(NamedTuple):
    """One letter of an operation, as it is kept."""

    number: int
    id: str
    redrives: int
    step: Step
    fingerprint: str
    copy_id: str


class Told(NamedTuple):
    """What a consumer says of one that came back: it was handled, or is a dead letter again."""

    operation: str
    id: str
    handled: bool
    fingerprint: str


class Operations:
    """What is kept of operations. Its methods block for a moment, as those of the index do."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._database = index.database

    @contextmanager
    def at_once(self) -> Generator[None, None, None]:
        """All that is done within is done, or nothing."""
        with self._database.writing():
            yield

    # ---------------------------------------------------------------- operations

    def begin(
        self,
        verb: Verb,
        subscription: Subscription,
        query: Query,
        orders: Orders,
        *,
        to: str = "",
        by: str,
        why: str = "",
    ) -> Operation:
        """A new operation, that has claimed nothing yet. Raises `ConfigurationError` for a discard without a reason."""
        if verb in {"discard", "edit"} and not why.strip():
            raise ConfigurationError(f"why: say why these dead letters are {verb}ed")
        topic, group, now, why = subscription.topic.name, subscription.group, _now(), redact(why)
        query = msgspec.structs.replace(query, topic=topic, group=group)
        operation = Operation(
            id=new_id(), verb=verb, state="claiming", topic=topic, group=group, to=to, query=query, orders=orders,
            by=by, why=why, at=now, changed=now,
        )  # fmt: skip
        row = (
            operation.id, verb, "claiming", topic, group, to, _json(query), _json(orders), by, why,
            now.isoformat(), now.isoformat(), "",
        )  # fmt: skip
        with self._database.writing() as c:
            c.execute(f"INSERT INTO operation ({FIELDS}) VALUES ({', '.join('?' * len(row))})", row)
            self.note(operation, verb)
        return operation

    def get(self, beginning: str) -> Operation:
        """The one whose id begins so. Raises `ConfigurationError` where none does, or several do."""
        found = self._select("WHERE substr(id, 1, length(?)) = ? LIMIT 6", beginning, beginning) if beginning else ()
        if not found:
            raise ConfigurationError(
                f"no operation has an id that begins with {beginning!r}: see `waybill dlq operations`"
            )
        if len(found) > 1:
            raise ConfigurationError(
                f"several operations begin with {beginning!r}: {', '.join(each.id for each in found[:5])}"
            )
        return found[0]

    def all(self, *, ended: bool = False, limit: int = 50) -> Sequence[Operation]:
        """The newest first; with those that have `ended`."""
        which = "" if ended else f"WHERE state NOT IN ({', '.join(repr(state) for state in sorted(ENDED))})"
        return self._select(f"{which} ORDER BY number DESC LIMIT ?", limit)

    def undecided(self) -> Sequence[Operation]:
        """Those that go on, and those that have ended while some of their letters are pending. The oldest first."""
        ended = ", ".join(repr(state) for state in sorted(ENDED))
        return self._select(
            f"WHERE state NOT IN ({ended}) OR EXISTS (SELECT 1 FROM move WHERE operation = operation.number AND step = 'pending') "
            "ORDER BY number"
        )

    def progress(self, operation: Operation) -> Progress:
        """What has become of its letters."""
        with self._database.reading() as c:
            number = (_number(c, operation),)
            steps = c.execute(
                f"SELECT step, count(*) FROM move {BY_STEP} WHERE operation = ? GROUP BY step", number
            ).fetchall()
            alike, repeated = c.execute(
                f"SELECT coalesce(sum(alike), 0), coalesce(sum(max(0, tries - 1)), 0) {SPECIAL}", number
            ).fetchone()
            cause = c.execute(f"SELECT cause {SPECIAL} AND cause != '' ORDER BY number LIMIT 1", number).fetchone()
        return Progress(**dict(steps), alike=alike, repeated=repeated, cause=cause[0] if cause else "")

    def advance(self, operation: Operation, state: State, note: str = "") -> Operation:
        """Move on, and free what is still claimed where it ends, some at a time. Raises `ConfigurationError` for a step back."""
        operation = self.get(operation.id)
        if operation.state == state:
            return operation
        if not may_become(operation.state, state):
            raise ConfigurationError(f"operation {operation.id} is {operation.state}: it cannot be {state} any more")
        if state in {"aborted", "cancelled"}:
            for step, (then, cause) in WHEN_CUT_SHORT.items():
                while moves := self.at(operation, step, limit=PAGE):
                    self.mark(operation, [move.id for move in moves], then, cause=cause)
        return self._set(operation, state, note)

    def note(self, operation: Operation, verb: str) -> None:
        """A line of the audit, by whom and why the operation says."""
        self.index.note(verb, _action(operation), topic=operation.topic, group=operation.group, count=0, now=_now())

    def stand_still(self, operation: Operation, note: str) -> Operation:
        """It waits, and why."""
        return self._set(operation, self.get(operation.id).state, note)

    def cancel(self, operation: Operation, *, by: str, why: str) -> Operation:
        """End it: what is not sent stays a dead letter, what is under way is ended by who runs it. Twice is as once."""
        operation = self.get(operation.id)
        if not operation.under_way:
            return operation
        words = f"cancelled by {by}" + (f": {redact(why)}" if why else "")
        with self._database.writing() as c:
            c.execute("UPDATE operation SET stop = ? WHERE id = ?", (words, operation.id))
            self.note(msgspec.structs.replace(operation, by=by, why=why), "cancel")
            runner, beat = c.execute("SELECT runner, beat FROM operation WHERE id = ?", (operation.id,)).fetchone()
            if carrying.lives(runner, beat):
                return self.get(operation.id)
            me = carrying.begin(c, operation.id)  # so that nobody else begins in between
        try:
            return self.advance(operation, "cancelled", words)
        finally:
            with self._database.writing() as c:
                carrying.end(c, operation.id, me)

    async def beating(self, operation: Operation, runner: str) -> None:
        """Give signs of life of who carries it out, until it is another's."""
        with suppress(ConfigurationError):  # who carries it out finds it out as well
            while True:
                await asyncio.sleep(carrying.BEAT)
                with suppress(BrokerError):
                    await asyncio.to_thread(self.stopped, operation, runner)

    def stopped(self, operation: Operation, runner: str) -> str:
        """Why it is to end, where somebody has cancelled it; and a sign of life of who asks. Raises `ConfigurationError` where it
        is not `runner`, as `carrying_out` gave it, who carries it out any more."""
        with self._database.writing() as c:
            carrying.check(c, operation.id, runner)
            stop: str = c.execute("SELECT stop FROM operation WHERE id = ?", (operation.id,)).fetchone()[0]
        return stop

    @contextmanager
    def carrying_out(self, operation: Operation) -> Generator[str, None, None]:
        """Nobody else carries it out meanwhile. Gives the name under which we do, by which we are asked whether it is ours still.
        Raises `ConfigurationError` when somebody does."""
        with self._database.writing() as c:
            runner = carrying.begin(c, operation.id)
        try:
            yield runner
        finally:
            with self._database.writing() as c:
                carrying.end(c, operation.id, runner)

    # ---------------------------------------------------------------- its letters

    def claim(self, operation: Operation, letters: Sequence[Letter], runner: str | None = None) -> int:
        """Those that no other operation has; says how many are new. runner: as of `stage`, where it is carried out already."""
        with self._database.writing() as c:
            if runner is not None:
                carrying.check(c, operation.id, runner)
            own = set(
                self.index.claim([letter.key for letter in letters], operation.id, _action(operation), now=_now())
            )
            number, before = _number(c, operation), c.total_changes
            c.executemany(
                "INSERT OR IGNORE INTO move (operation, id, redrives, fingerprint, copy_id) VALUES (?, ?, ?, ?, ?)",
                [
                    (number, letter.key.id, letter.redrives, letter.fingerprint, letter.key.id)
                    for letter in letters
                    if letter.key in own
                ],
            )
            return int(c.total_changes - before)

    def edited(self, operation: Operation, letter: Message, copy: Message) -> None:
        """What is sent instead of this letter of the operation."""
        with self._database.writing() as c:
            c.execute(
                "UPDATE move SET copy_id = ?, copy = ? WHERE operation = ? AND id = ?",
                (copy.id, msgspec.json.encode(copy, enc_hook=dict), _number(c, operation), letter.id),
            )

    def copies(self, operation: Operation) -> Mapping[str, Message]:
        """What is sent instead of the letters that were edited, by these letters' ids."""
        with self._database.reading() as c:
            rows = c.execute(
                "SELECT id, copy FROM move WHERE operation = ? AND copy IS NOT NULL", (_number(c, operation),)
            ).fetchall()
        return {ident: msgspec.json.decode(copy, type=Message) for ident, copy in rows}

    def among(self, operation: Operation, ids: Sequence[str]) -> Mapping[str, Move]:
        """Those of these letters that are the operation's, by id."""
        return {move.id: move for move in self._moves(operation, "id IN (SELECT value FROM json_each(?))", _json(ids))}

    def at(
        self, operation: Operation, step: Step, *, since: float = float("inf"), after: int = 0, limit: int = PAGE
    ) -> Sequence[Move]:
        """Its letters that have been at that step since then (seconds since the epoch), or for longer; as they were claimed."""
        return self._moves(
            operation,
            "step = ? AND number > ? AND at <= ? ORDER BY number LIMIT ?",
            step,
            after,
            since,
            limit,
            way=BY_STEP,
        )

    def stage(self, operation: Operation, ids: Sequence[str], runner: str) -> Mapping[str, Then]:
        """These letters of it are about to be sent, or discarded. Says what is to be done with each: sent; only removed, where its
        copy is there or it is discarded; or left. Raises `ConfigurationError` where it is not `runner` who carries it out any
        more."""
        with self._database.writing() as c:
            carrying.check(c, operation.id, runner)
            if operation.verb == "discard":
                return self._then(operation, ids, DISCARDING)
            then: dict[str, Then] = dict.fromkeys(self.mark(operation, ids, "sending"), "send")
            rest = [ident for ident in ids if ident not in then]
            return {**then, **self._then(operation, rest, SENDING)} if rest else then

    def _then(self, operation: Operation, ids: Sequence[str], allowed: Mapping[Step, Then]) -> dict[str, Then]:
        return {ident: allowed.get(move.step, "leave") for ident, move in self.among(operation, ids).items()}

    def mark(
        self, operation: Operation, ids: Sequence[str], step: Step, *, cause: str = "", alike: bool = False
    ) -> Sequence[str]:
        """Move these letters on to that step, where they are at one that it may follow. Says which."""
        if not ids:
            return ()
        before = [one for one, then in STEPS.items() if step in then]
        with self._database.writing() as c:
            # +step: each is found by its id. By the index of steps all that are claimed are gone through for every chunk.
            moved = c.execute(
                """UPDATE move SET step = ?, tries = tries + ?, cause = ?, alike = ?, at = ? WHERE operation = ?
                   AND id IN (SELECT value FROM json_each(?)) AND +step IN (SELECT value FROM json_each(?))
                   RETURNING id, copy_id""",
                (step, step == "sending", cause, alike, time.time(), _number(c, operation), _json(ids), _json(before)),
            ).fetchall()
            if (review := REVIEWS.get(step)) is not None:
                elsewhere = step != "came_back" or operation.to not in {"", operation.name}
                keys = [
                    Key(operation.topic, operation.group, ident) for ident, copy in moved if elsewhere or copy != ident
                ]
                self.index.advance(keys, operation.id, review, _action(operation, cause), now=_now())
        return [ident for ident, _ in moved]

    def returned(self, operation: Operation, place: tuple[str, str], *, since: float) -> Sequence[tuple[str, bool]]:
        """Some of those that have been pending since then and whose copies are dead letters of that topic and group, as the
        index has seen: with more redrives than was claimed. And whether each has failed as before. A group they did not fail in
        may have a letter of that id that is none of ours."""
        elsewhere, after = place != (operation.topic, operation.group), 0
        with self._database.reading() as c:
            while True:
                rows = c.execute(
                    """SELECT move.number, move.id, details.came_back, messages.message, details.record
                       FROM places JOIN move INDEXED BY move_by_step ON move.operation = ? AND move.step = 'pending'
                       JOIN details ON details.id = move.copy_id AND details.place = places.id JOIN messages ON messages.number = details.number
                       WHERE places.topic = ? AND places.consumers = ? AND move.at <= ? AND details.redrives > move.redrives
                       AND move.number > ? ORDER BY move.number LIMIT ?""",
                    (_number(c, operation), *place, since, after, PAGE),
                ).fetchall()
                found = [
                    (ident, bool(alike))
                    for _, ident, alike, message, record in rows
                    if not elsewhere or read_message(message, record).redrive == operation.id
                ]
                if found or len(rows) < PAGE:
                    return found
                after = rows[-1][0]

    # ---------------------------------------------------------------- what consumers tell

    def tell(self, told: Sequence[Told]) -> None:
        """Consumers have settled these. What no operation of this index waits for is not kept: nobody would heed it."""
        with self._database.writing() as c:
            c.executemany(
                """INSERT OR REPLACE INTO told SELECT ?1, ?2, ?3, ?4 FROM operation WHERE operation.id = ?1 AND (verb = 'edit'
                   OR EXISTS (SELECT 1 FROM move WHERE move.operation = operation.number AND move.id = ?2
                              AND step IN ('sending', 'sent', 'pending')))""",
                told,
            )

    def heed(self, operation: Operation) -> None:
        """Decide what is pending by what consumers have told."""
        while heard := self._heard(operation):
            for (handled, alike), ids in heard.items():
                step: Step = "resolved" if handled else "came_back"
                with self._database.writing() as c:
                    self.mark(operation, ids, step, alike=alike)
                    c.execute(
                        """DELETE FROM told WHERE operation = ? AND id IN (SELECT copy_id FROM move
                           WHERE operation = ? AND id IN (SELECT value FROM json_each(?)))""",
                        (operation.id, _number(c, operation), _json(ids)),
                    )

    def _heard(self, operation: Operation) -> Mapping[tuple[bool, bool], list[str]]:
        """Some of those that are pending and were told of, by whether they were handled, and whether they failed as before."""
        heard: dict[tuple[bool, bool], list[str]] = {}
        with self._database.reading() as c:
            if c.execute("SELECT 1 FROM told WHERE operation = ? LIMIT 1", (operation.id,)).fetchone() is None:
                return heard
            rows = c.execute(
                """SELECT move.id, told.handled, NOT told.handled AND told.fingerprint = move.fingerprint
                   FROM move INDEXED BY move_by_step JOIN told ON told.operation = ? AND told.id = move.copy_id
                   WHERE move.operation = ? AND move.step = 'pending' LIMIT ?""",
                (operation.id, _number(c, operation), PAGE),
            )
            for ident, handled, alike in rows:
                heard.setdefault((bool(handled), bool(alike)), []).append(ident)
        return heard

    # ---------------------------------------------------------------- inside

    def _select(self, where: str, *values: Any) -> Sequence[Operation]:
        with self._database.reading() as c:
            return [_operation(row) for row in c.execute(f"SELECT {FIELDS}, stop FROM operation {where}", values)]

    def _moves(self, operation: Operation, where: str, *values: Any, way: str = "") -> Sequence[Move]:
        with self._database.reading() as c:
            rows = c.execute(
                f"SELECT number, id, redrives, step, fingerprint, copy_id FROM move {way} WHERE operation = ? AND {where}",
                (_number(c, operation), *values),
            )
            return [Move(*row) for row in rows]

    def _set(self, operation: Operation, state: State, note: str) -> Operation:
        with self._database.writing() as c:
            c.execute(
                "UPDATE operation SET state = ?, note = ?, changed = ? WHERE id = ?",
                (state, note, _now().isoformat(), operation.id),
            )
        return self.get(operation.id)


def _number(c: Connection, operation: Operation) -> int:
    number: int = c.execute("SELECT number FROM operation WHERE id = ?", (operation.id,)).fetchone()[0]
    return number


def _operation(row: Sequence[Any]) -> Operation:
    ident, verb, state, topic, group, to, query, orders, by, why, at, changed, note, stop = row
    return Operation(
        id=ident, verb=verb, state=state, topic=topic, group=group, to=to,
        query=msgspec.json.decode(query, type=Query), orders=msgspec.json.decode(orders, type=Orders),
        by=by, why=why, at=datetime.fromisoformat(at), changed=datetime.fromisoformat(changed), note=note, stop=stop,
    )  # fmt: skip


def _action(operation: Operation, why: str = "") -> Action:
    return Action(by=operation.by, why=why or operation.why, operation=operation.id)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _now() -> datetime:
    return datetime.now(UTC)
