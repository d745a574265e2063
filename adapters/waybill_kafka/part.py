"""One partition while it is ours: what was fetched of it, what is handed out, and what is done with. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from waybill.message import Delivery
from waybill.outcomes import Ack, Release, Settlement, SettlementKind
from waybill_kafka.client import TopicPartition
from waybill_kafka.watermark import Note, Watermark, write

__all__ = ["Part", "Token"]

RECORD = 256
"""Bytes of memory that a record takes beside its body, about."""


class Part:
    """Made anew each time the partition comes to us, so what is left of an earlier time cannot be taken for this one's."""

    def __init__(self, tp: TopicPartition, committed: int, note: Note, *, end: int, since: int, most: int) -> None:
        """`most`: messages between the first that is not finished and the last that was handed out. `end`: the partition's end by now: what comes later was in nobody's hands. `since`: the group's generation."""
        self.tp = tp
        self.name = f"{tp.topic}/{tp.partition}"
        self.since = since
        self.most = most
        self.marks = Watermark(committed, note)
        self.marks.dubious_until = min(self.marks.dubious_until, end)
        self.known = (committed, write(note))
        """What the broker knows."""
        self.marked = note.held > 0
        """Whether it knows that something may be at work."""
        self.fetched: deque[Any] = deque()
        """Records, not handed out; those that were given back come first."""
        self.bytes = 0
        self.out: dict[int, Delivery[Any]] = {}
        self.wanted = False
        """Somebody else is to have it: nothing more of it is begun."""
        self.paused = False
        self.stuck: float | None = None
        """When it is tried again, where nobody can read it on."""
        self.again: set[int] = set()
        """Given back, and to be handed out once more."""

    @property
    def dubious(self) -> bool:
        """Whether what comes next may have been at work when its last owner died."""
        return bool(self.fetched) and self.fetched[0].offset < self.marks.dubious_until

    @property
    def blocked(self) -> bool:
        """Whether one message of it has waited for so long that nothing more of it may be begun."""
        return self.marks.span >= self.most

    def fetch(self, records: Sequence[Any]) -> None:
        self.fetched.extend(records)
        self.bytes += sum(_weight(record) for record in records)

    def unfetch(self) -> None:
        """It is fetched anew from where it is; what was given back is not."""
        self.fetched = deque(record for record in self.fetched if record.offset in self.again)
        self.bytes = sum(_weight(record) for record in self.fetched)

    def take(self, many: int) -> list[Any]:
        """The next records that are to be handed out, so many at most."""
        taken: list[Any] = []
        while self.fetched and len(taken) < many:
            record = self.fetched.popleft()
            self.bytes -= _weight(record)
            if self.again and record.offset in self.again:
                self.again.discard(record.offset)
                taken.append(record)
            elif self.marks.see(record.offset):
                taken.append(record)
        return taken

    def give_back(self, record: Any) -> None:
        """It is to be handed out again, before all that comes later."""
        self.again.add(record.offset)
        self.bytes += _weight(record)
        place = 0
        while place < len(self.fetched) and self.fetched[place].offset < record.offset:
            place += 1
        self.fetched.insert(place, record)

    def settle(self, token: Token, settlement: Settlement) -> None:
        """It is done with (`Ack`), or somebody else's or ours once more (`Release`)."""
        token.settled = type(settlement)
        self.out.pop(token.record.offset, None)
        if isinstance(settlement, Ack):
            self.marks.finish(token.record.offset)
        elif isinstance(settlement, Release):
            self._count(token, settlement)
        else:
            raise TypeError(f"Kafka does not settle {type(settlement).__name__} by itself")

    def _count(self, token: Token, settlement: Release) -> None:
        tries = token.tries if settlement.attempts is None else settlement.attempts
        if tries:
            self.marks.tries[token.record.offset] = tries
        else:
            self.marks.tries.pop(token.record.offset, None)

    def state(self, window: int, *, leaving: bool = False) -> tuple[int, str]:
        """What to commit: the offset, and the metadata beside it."""
        clean = leaving and not self.out
        held = 0 if clean else window * (2 + self.marks.span // window)  # changes seldom
        return self.marks.offset, write(self.marks.note(held=held))


class Token(msgspec.Struct, eq=False, gc=False):
    """What settles a delivery."""

    part: Part
    record: Any
    tries: int = 0
    """Attempts it had had before it was handed out."""
    settled: SettlementKind | None = None


def _weight(record: Any) -> int:
    return RECORD if record.value is None else RECORD + len(record.value)
