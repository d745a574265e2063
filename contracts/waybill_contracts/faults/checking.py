"""What the journals of publishers and workers say, held against what a fault may cost. Pure: no clock, no broker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from waybill_contracts.tasks import Step

__all__ = ["Allowed", "Verdict", "check", "disorder", "undecided", "unsettled"]

OUTCOMES = {"ok", "refused", "unknown"}
ENDS = {"done", "failed", "cancelled", "cut"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What may happen. faults: how many there were. each: how many messages one may repeat, at most: what was published and
    not confirmed, and what was handed out. repeats: how many were at risk as counted, where that is less.
    copies: how often each number was published again by whoever got no answer.
    ordered: the messages of a key come in order. over, within: when each fault ended (`Step.at`), and seconds until
    something is published, and something handled, again."""

    faults: int = 0
    each: int = 0
    repeats: int | None = None
    copies: int = 0
    ordered: bool = False
    over: Sequence[float] = ()
    within: float | None = None

    @property
    def total(self) -> int:
        """Handlings beyond the first of each message, at most."""
        most = self.faults * self.each
        return most if self.repeats is None else min(most, self.repeats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Figures, and what is wrong in words, each with the numbers that it is about."""

    confirmed: int
    refused: int
    unknown: int
    handled: int
    dead: int
    failed: int
    repeated: int
    """Handlings beyond the first, without those that follow a failure."""
    slowest: float | None
    """Seconds from the end of a fault to the first success, the longest."""
    wrong: list[str] = field(default_factory=list[str])

    def hold(self, *, seed: int | None = None, confirmed: int = 1) -> None:
        """Raises an `AssertionError` that says all that is wrong. confirmed: with fewer, the run has shown nothing."""
        wrong = list(self.wrong)
        if self.confirmed < confirmed:
            wrong.append(f"only {self.confirmed} were confirmed, which shows nothing: {confirmed} at least should be")
        told = "" if seed is None else f"; again with FAULT_SEED={seed}"
        assert not wrong, f"{'; '.join(wrong)} ({self.figures}{told})"

    @property
    def figures(self) -> str:
        recovered = "" if self.slowest is None else f", again after {self.slowest:.1f} s"
        return (
            f"{self.confirmed} confirmed, {self.refused} refused, {self.unknown} unknown, {self.handled} handled, "
            f"{self.dead} dead letters, {self.failed} failures, {self.repeated} repeated{recovered}"
        )


def check(steps: Iterable[Step], allowed: Allowed, *, dead: Collection[int] = ()) -> Verdict:
    """Hold all that was journalled against what is allowed. `dead`: the numbers of the dead letters."""
    entries = sorted(steps, key=lambda step: step.at)
    outcome = {step.number: step.what for step in entries if step.what in OUTCOMES | {"try"}}
    named = {what: {number for number, found in outcome.items() if found == what} for what in (*OUTCOMES, "try")}
    starts = _by_number(entries, "started")
    failures = _by_number(entries, "failed")
    again = {number: len(found) - 1 - len(failures.get(number, ())) for number, found in starts.items()}
    handled = _by_number(entries, "done").keys()
    times = [_recovery(entries, end) for end in allowed.over]
    unordered = disorder(entries, set(dead)) if allowed.ordered else []
    wrong = [
        *_told("confirmed and neither handled nor a dead letter (lost)", named["ok"] - handled - set(dead)),
        *_told("refused, and handled all the same", named["refused"] & starts.keys()),
        *_repeats(again, allowed),
        *([f"order: {'; '.join(unordered)!s:.600}"] if unordered else ()),
        *_late(times, allowed),
    ]
    return Verdict(
        confirmed=len(named["ok"]),
        refused=len(named["refused"]),
        unknown=len(named["unknown"] | named["try"]),
        handled=len(handled),
        dead=len(set(dead)),
        failed=sum(map(len, failures.values())),
        repeated=sum(max(0, count) for count in again.values()),
        slowest=max((found for found in times if found is not None), default=None),
        wrong=wrong,
    )


def unsettled(steps: Iterable[Step], process: int) -> int:
    """How many messages this process had begun to handle and had not settled: what its end may repeat. 0: the kill of an
    idle worker, which shows nothing."""
    held = set[int]()
    for step in steps:
        if step.process == process and step.what == "started":
            held.add(step.number)
        elif step.process == process and step.what in {"settled", "lost"}:
            held.discard(step.number)
    return len(held)


def undecided(steps: Iterable[Step], process: int) -> int:
    """How many publishes of this process had begun and had no outcome."""
    mine = [step for step in steps if step.process == process]
    return sum(step.what == "try" for step in mine) - sum(step.what in OUTCOMES for step in mine)


def _by_number(entries: Iterable[Step], what: str) -> dict[int, list[Step]]:
    found: dict[int, list[Step]] = defaultdict(list)
    for step in entries:
        if step.what == what:
            found[step.number].append(step)
    return found


def _told(what: str, numbers: Collection[int]) -> list[str]:
    return [f"{len(numbers)} {what}: {sorted(numbers)!r:.300}"] if numbers else []


def _repeats(again: dict[int, int], allowed: Allowed) -> list[str]:
    most = allowed.faults + allowed.copies
    told = _told(
        f"handled more than once more for each of {allowed.faults} faults",
        {number for number, count in again.items() if count > most},
    )
    total = sum(max(0, count) for count in again.values())
    if total > allowed.total:
        numbers = sorted(number for number, count in again.items() if count > 0)
        told.append(f"{total} handlings were repeated, and {allowed.total} may be: {numbers!r:.300}")
    return told


def disorder(entries: Iterable[Step], dead: Collection[int] = (), *, alone: bool = False) -> list[str]:
    """First handlings of a key rise; none starts before all that come before it have succeeded, also after one has come
    again; and one process handles one of a key at a time. alone: all processes together do.

    What was handled, and not settled when its process was killed, may so come again after a later one had begun there.
    """
    keys: dict[str, _Key] = defaultdict(_Key)
    return [
        f"{step.key}: {wrong}"
        for step in entries
        for wrong in keys[step.key].hear(step, 0 if alone else step.process, dead=step.number in dead)
    ]


class _Key:
    """What has become of one key's messages."""

    def __init__(self) -> None:
        self._last = -1
        self._running: dict[int, Step] = {}
        self._seen: set[int] = set()
        self._waiting: set[int] = set()

    def hear(self, step: Step, place: int, *, dead: bool) -> list[str]:
        """What is wrong about this. place: where one runs at a time."""
        told: list[str] = []
        new = step.number not in self._seen
        if step.what == "started":
            told = self._started(step, place, new=new)
            self._seen.add(step.number)
        elif step.what in ENDS and (other := self._running.get(place)) is not None and other.process == step.process:
            del self._running[place]
        if step.what in {"ok", "started"} and new and not dead:
            self._waiting.add(step.number)
        if step.what == "done":
            self._waiting.discard(step.number)
        return told

    def _started(self, step: Step, place: int, *, new: bool) -> list[str]:
        told: list[str] = []
        if new and step.number < self._last:
            told.append(f"{step.number} was first handled after {self._last}")
        if (other := self._running.get(place)) is not None:
            where = " and ".join(str(process) for process in sorted({other.process, step.process}))
            told.append(f"{other.number} and {step.number} at the same time in process {where}")
        told += [f"{step.number} began before {lower} had succeeded" for lower in self._waiting if lower < step.number]
        self._last = max(self._last, step.number)
        self._running[place] = step
        return told


def _recovery(entries: Iterable[Step], end: float) -> float | None:
    """Seconds until something was confirmed and something handled again, of those who do either; `None`: not all did."""
    found: list[float] = []
    for kinds in ({"ok"}, {"done"}):
        if any(step.what in kinds for step in entries):
            after = [step.at - end for step in entries if step.what in kinds and step.at > end]
            if not after:
                return None
            found.append(min(after))
    return max(found, default=None)


def _late(times: Sequence[float | None], allowed: Allowed) -> list[str]:
    if allowed.within is None:
        return []
    slow = [found for found in times if found is None or found > allowed.within]
    return [
        f"{'never again' if found is None else f'again only after {found:.1f} s'}, and {allowed.within:g} s are allowed"
        for found in slow
    ]
