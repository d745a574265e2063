"""Which offsets of one partition are done with, and so how far it may be committed. Pure.

Kafka knows one number a group and partition: all below it is done. Handlers end in any order, so the number is the first
offset that was handed out and is not finished. What is finished beyond it is written into the commit's metadata, and is not
handed out again by whoever has the partition next; so are the attempts of what was tried in place, and whether the partition
was left in good order. Offsets are those of records: gaps (compaction, markers and aborted records of transactions) are
nobody's, and hold nothing up.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

import msgspec

__all__ = ["MOST_METADATA", "Note", "Watermark", "finished_in", "read", "write"]

MOST_METADATA = 3900
"""Characters of metadata; the broker's own limit is 4096 (`offset.metadata.max.bytes`)."""
MOST_TRIES = 50
"""Attempts of so many messages are kept."""


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is said beside a committed offset. Offsets are counted from it."""

    v: int = 1
    done: str = ""
    """Finished beyond: runs of unfinished and finished offsets in turn, as variable-length numbers in base85."""
    held: int = 0
    """So many offsets from here may be at work: whoever has the partition next without this being 0 knows that its owner
    did not leave it in good order."""
    tries: dict[str, int] = {}
    """Attempts that an unfinished message has had, by its offset."""


class Watermark:
    """One partition, as long as it is ours."""

    def __init__(self, committed: int, note: Note | None = None) -> None:
        note = note or Note()
        self.committed = committed
        self.position = committed
        """The offset behind the last that was seen."""
        self.dubious_until = committed + note.held
        """What is below may have been at work when the last owner died."""
        self._open: dict[int, None] = {}
        """Seen and not finished, ascending."""
        self._done: set[int] = {committed + offset for offset in finished_in(note)}
        """Finished, at or beyond the watermark."""
        self.tries: dict[int, int] = {committed + int(offset): count for offset, count in note.tries.items()}

    def see(self, offset: int) -> bool:
        """A record has come. `False`: it is not to be handed out, since it was seen or finished before."""
        if offset < self.position:
            return False
        self.position = offset + 1
        if offset in self._done:
            return False
        self._open[offset] = None
        return True

    def finish(self, offset: int) -> None:
        """It is done with. What is not open is left as it is: a repeat, or another owner's."""
        if offset in self._open:
            del self._open[offset]
            self._done.add(offset)
            if self.tries:
                self.tries.pop(offset, None)

    def skip(self, position: int) -> None:
        """There is nothing more to come below this position."""
        self.position = max(self.position, position)

    def join(self, committed: int, note: Note) -> None:
        """What somebody else has finished is finished here as well."""
        done = {committed + offset for offset in finished_in(note)}
        for offset in [offset for offset in self._open if offset < committed or offset in done]:
            self.finish(offset)
        self._done |= done

    @property
    def unfinished(self) -> int:
        return len(self._open)

    @property
    def span(self) -> int:
        """How far the first unfinished offset lies behind the last that was seen."""
        return self.position - self.offset

    @property
    def offset(self) -> int:
        """What may be committed."""
        return next(iter(self._open), self.position)

    def note(self, *, held: int = 0) -> Note:
        """What to say beside it. `held`: so many offsets from there may be at work."""
        start = self.offset
        self._done = {offset for offset in self._done if offset >= start}
        tries = {str(o - start): n for o, n in sorted(self.tries.items())[:MOST_TRIES] if o >= start}
        return Note(done=_runs(offset - start for offset in self._done), held=held, tries=tries)


def write(note: Note) -> str:
    """The note as metadata; empty for one that says nothing."""
    return "" if note == Note() else msgspec.json.encode(note).decode()


def read(metadata: str | None) -> Note:
    """The note in metadata. What others wrote there, or a later version, says nothing to us."""
    if not metadata:
        return Note()
    try:
        note = msgspec.json.decode(metadata, type=Note)
        finished_in(note)
        [int(offset) for offset in note.tries]
    except (msgspec.MsgspecError, ValueError):
        return Note()
    return note if note.v == 1 and note.held >= 0 else Note()


def finished_in(note: Note) -> list[int]:
    """The finished offsets, counted from the committed one. Raises `ValueError`."""
    try:
        data = base64.b85decode(note.done)
    except (ValueError, binascii.Error) as error:
        raise ValueError(f"the finished offsets cannot be read: {error}") from error
    found: list[int] = []
    at, finished, number, shift = 0, False, 0, 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte & 0x80:
            continue
        if finished:
            found.extend(range(at, at + min(number, 1 << 20)))
        at, finished, number, shift = at + number, not finished, 0, 0
    return found


def _runs(offsets: Iterable[int]) -> str:
    """Runs of unfinished and finished offsets; what is too far for the metadata is left out, and comes again."""
    data = bytearray()
    at = 0
    for start, end in _spans(sorted(offsets)):
        run = _number(start - at) + _number(end - start)
        if (len(data) + len(run)) * 5 // 4 > MOST_METADATA - 1000:
            break
        data += run
        at = end
    return base64.b85encode(bytes(data)).decode()


def _spans(offsets: list[int]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for offset in offsets:
        if spans and spans[-1][1] == offset:
            spans[-1] = (spans[-1][0], offset + 1)
        else:
            spans.append((offset, offset + 1))
    return spans


def _number(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
