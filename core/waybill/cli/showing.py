"""One dead letter, whole, for people and for programs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from waybill.letters import as_object
from waybill.message import Message
from waybill.redaction import MASK, redact, secrets_of, shown_body, shown_headers
from waybill.topology import Subscription, TopicSpec

if TYPE_CHECKING:
    from waybill.dlq.model import Entry, Letter

__all__ = ["Whole", "entry_line", "entry_object", "in_words", "masked", "readable", "show_whole", "summary"]


@dataclass(frozen=True, slots=True)
class Whole:
    """A letter, what came, and who did what with it. `indexed`: the index knows how far its review is."""

    letter: Letter
    message: Message
    entries: tuple[Entry, ...] = ()
    indexed: bool = False
    marked: tuple[str, ...] = ()
    """Headers and fields whose values are shown nowhere, beside those that look secret."""

    @property
    def topic(self) -> str:
        return self.letter.key.topic

    @property
    def group(self) -> str:
        return self.letter.key.group

    def parts(self) -> dict[str, Any]:
        """Attributes, headers, record and body, as JSON can hold them."""
        return as_object(Subscription(topic=TopicSpec(self.topic), group=self.group), masked(self.message, self.marked))

    def as_object(self, now: datetime) -> dict[str, Any]:
        done = {"audit": [entry_object(entry) for entry in self.entries]} if self.indexed else {}
        return {**summary(self.letter, now, indexed=self.indexed), **self.parts(), **done}


def in_words(letter: Letter) -> str:
    """Its state: `unresolved again`, `triaged (anna)`."""
    again = " again" if letter.came_back else ""
    return f"{letter.state}{again}" + (f" ({letter.owner})" if letter.owner else "")


def summary(letter: Letter, now: datetime, *, indexed: bool) -> dict[str, Any]:
    """What a list says of a letter. What only an index knows is left out where there is none."""
    record = letter.record
    told = {
        "id": letter.key.id,
        "topic": letter.key.topic,
        "group": letter.key.group,
        "reason": record.reason,
        "attempts": record.attempts,
        "at": record.at.isoformat(),
        "age_seconds": round((now - record.at).total_seconds(), 3),
        "error": record.error,
        "detail": redact(record.detail),
        "key": letter.message_key,
        "redrives": letter.redrives,
        "fingerprint": letter.fingerprint,
        "disposition": record.disposition,
    }
    return {**told, **_review(letter)} if indexed else told


def _review(letter: Letter) -> dict[str, Any]:
    return {
        "state": letter.state.value,
        "came_back": letter.came_back,
        "owner": letter.owner,
        "ticket": letter.ticket,
        "note": letter.note,
        "operation": letter.operation,
        "changed": letter.changed.isoformat(),
        "gone": None if letter.gone is None else letter.gone.isoformat(),
    }


def entry_object(entry: Entry) -> dict[str, Any]:
    """A line of the audit, for programs."""
    return {**msgspec.structs.asdict(entry), "at": entry.at.isoformat()}


def entry_line(entry: Entry) -> str:
    """And for people."""
    became = f" {entry.before} → {entry.after}" if entry.after and entry.before != entry.after else ""
    count = f" {entry.count} letters" if entry.count > 1 else ""
    why = f": {entry.why}" if entry.why else ""
    operation = f" [{entry.operation}]" if entry.operation else ""
    return f"{entry.at.isoformat(timespec='seconds')}  {entry.by}  {entry.verb}{count}{became}{operation}{why}"


def show_whole(whole: Whole) -> None:
    """On stdout: how far its review is, attributes, headers, record, stack, body, and what was done with it."""
    from waybill.cli.screen import block, heading, line, safe, tell  # noqa: PLC0415 - `waybill --help` need not load it

    heading(f"{whole.topic}/{whole.group}  {whole.message.id}")
    parts = whole.parts()
    stack = parts["record"].pop("stack")
    if whole.indexed:
        parts["review"] = {**_review(whole.letter), "state": in_words(whole.letter), "came_back": None}
    for title in ("review", "attributes", "headers", "record"):
        if parts.get(title):
            heading(title)
        for name, value in parts.get(title, {}).items():
            if value not in {None, ""}:
                line(f"  {safe(name)}: {safe(str(value))}")
    if stack:
        heading("stack")
        block(stack)
    heading("body")
    body = masked(whole.message, whole.marked).body
    block(readable(body))
    if body != whole.message.body:
        tell(f"{MASK} stands for what looks secret; --raw writes the body as it is")
    if whole.entries:
        heading("what was done")
        for entry in reversed(whole.entries):
            line("  " + safe(entry_line(entry)))


def masked(message: Message, marked: Collection[str] = ()) -> Message:
    """The message without the secrets in it that are known as such: people look at it on shared screens."""
    secrets = secrets_of(message, marked)
    body = message.body and shown_body(message.body, secrets, marked)
    dead = message.dead
    if dead is not None:
        stack = None if dead.stack is None else redact(dead.stack, secrets)
        dead = msgspec.structs.replace(dead, detail=redact(dead.detail, secrets), stack=stack)
    return msgspec.structs.replace(message, headers=shown_headers(message.headers, marked), body=body, dead=dead)


def readable(body: bytes | None) -> str:
    """JSON indented, other bytes as a dump."""
    if body is None:
        return "none: a tombstone"
    try:
        return msgspec.json.format(body.decode(), indent=2) if body else "empty"
    except (UnicodeDecodeError, msgspec.MsgspecError, RecursionError):
        return "\n".join(_dumped(body, start) for start in range(0, len(body), 16))


def _dumped(body: bytes, start: int) -> str:
    part = body[start : start + 16]
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
    return f"{start:08x}  {part.hex(' '):<47}  {text}"
