"""What all cases share: rounds in turn, medians, the processor's clock, a disk to write to, a table and a JSON file."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple, Self, TypeVar

__all__ = [
    "Cost",
    "Meter",
    "Row",
    "Run",
    "added",
    "against",
    "alone",
    "interleave",
    "scratch",
    "table",
    "write_results",
]

T = TypeVar("T")

HOME = Path(__file__).resolve().parent
NOT_A_DISK = {"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"}


@dataclass(frozen=True, slots=True)
class Run:
    """How much is measured, and where files may lie.

    rounds: how often each contender runs. scale: the share of a case's full number of messages. folder: on a disk.
    """

    rounds: int
    scale: float
    folder: Path

    def messages(self, full: int) -> int:
        """How many messages to use where a full run uses `full`; a multiple of 64."""
        return max(64, int(full * self.scale) // 64 * 64)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result: ours beside one other.

    value, baseline: in `unit`; medians of the rounds. ratio: value / baseline. target: a limit, `None` where the line only
    informs. rule: what is held to the target, for instance `ratio <=`. spread: the lowest and highest ratio of one round.
    """

    name: str
    unit: str
    value: float
    baseline: float | None = None
    ratio: float | None = None
    target: float | None = None
    rule: str = ""
    met: bool | None = None
    spread: tuple[float, float] | None = None


class Cost(NamedTuple):
    """What one message cost: microseconds of processor time, and microseconds that passed."""

    cpu: float
    wall: float


class Meter:
    """Measures one stretch of work: `with meter: …`. Several stretches add up.

    What exists before is left out of the garbage collector's rounds meanwhile: prepared messages are the benchmark's,
    and a service does not hold thousands of them.
    """

    def __init__(self) -> None:
        self.cpu = 0.0
        """Seconds of processor time of the whole process, all threads, user and system."""
        self.wall = 0.0
        """Seconds that passed."""

    def __enter__(self) -> Self:
        gc.collect()
        gc.freeze()
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu += time.process_time() - self._cpu
        self.wall += time.perf_counter() - self._wall
        gc.unfreeze()

    def per_message(self, messages: int) -> float:
        """Microseconds of processor time a message."""
        return self.cpu / messages * 1e6

    def cost(self, messages: int) -> Cost:
        """What one of so many messages cost."""
        return Cost(self.per_message(messages), self.wall / messages * 1e6)


def interleave(contenders: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Run all contenders in turn, `rounds` times, so that a busy minute of the machine meets all of them."""
    found: dict[str, list[T]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            found[name].append(contender())
    return found


def added(found: Sequence[float], bare: Sequence[float]) -> float:
    """How much more one contender takes than the other: the median of the rounds' differences.

    What is small beside both needs many short rounds: the two of a round meet the same moment of the machine, and a few that
    were disturbed move no median.
    """
    return median(a - b for a, b in zip(found, bare, strict=True))


def against(
    name: str,
    unit: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Row:
    """A line for two contenders' rounds. `at_most`, `at_least`: the target for ours / theirs."""
    value, baseline = median(ours), median(theirs)
    ratio = value / baseline
    rounds = [a / b for a, b in zip(ours, theirs, strict=True)]
    target = at_most if at_most is not None else at_least
    met = None if target is None else ratio <= target if at_most is not None else ratio >= target
    rule = "" if target is None else "ratio <=" if at_most is not None else "ratio >="
    return Row(name, unit, value, baseline, ratio, target, rule, met, (min(rounds), max(rounds)))


def alone(
    name: str,
    unit: str,
    value: float,
    *,
    baseline: float | None = None,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Row:
    """A line whose value itself is held to the target; `baseline` stands beside it to compare."""
    ratio = None if baseline is None else value / baseline
    target = at_most if at_most is not None else at_least
    met = None if target is None else value <= target if at_most is not None else value >= target
    rule = "" if target is None else "value <=" if at_most is not None else "value >="
    return Row(name, unit, value, baseline, ratio, target, rule, met)


# --------------------------------------------------------------------------- the disk


@contextmanager
def scratch(parent: Path | None) -> Iterator[Path]:
    """A folder on a disk, removed at the end. Leaves the program when it would lie in memory."""
    folder = Path(tempfile.mkdtemp(prefix=".bench-", dir=HOME if parent is None else parent))
    try:
        kind = _file_system(folder)
        if kind in NOT_A_DISK:
            sys.exit(f"{folder} is {kind}: a flush costs nothing there. Name a folder on a disk with --folder")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _file_system(folder: Path) -> str:
    """The kind of file system a folder lies on; `unknown` where the system does not say."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return "unknown"
    device = os.stat(folder).st_dev  # noqa: PTH116 - beside os.stat of the mounts
    found = "unknown"
    longest = -1
    for point, kind in mounts:
        inside = folder == Path(point) or Path(point) in folder.parents
        try:
            if inside and len(point) >= longest and os.stat(point).st_dev == device:  # noqa: PTH116
                found, longest = kind, len(point)
        except OSError:
            continue
    return found


# --------------------------------------------------------------------------- what is shown


def table(rows: Sequence[Row]) -> str:
    """The lines as aligned text."""
    head = ("case", "unit", "value", "baseline", "ratio", "of rounds", "target", "")
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    left = {0, 1}
    shown = [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    shown.insert(1, "-" * max(len(line) for line in shown))
    return "\n".join(shown)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        row.unit,
        _figure(row.value),
        _figure(row.baseline),
        "" if row.ratio is None else f"{row.ratio:.2f}",
        "" if row.spread is None else f"{row.spread[0]:.2f}-{row.spread[1]:.2f}",
        "" if row.target is None else f"{row.rule} {row.target:g}",
        "" if row.met is None else "ok" if row.met else "MISSED",
    )


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def write_results(rows: Sequence[Row], path: Path = HOME / "results.json", *, whole: bool = True) -> Path:
    """All lines as a JSON list; returns where. Unless these are the `whole`, the lines of other cases stay."""
    before = [] if whole else json.loads(path.read_text(encoding="utf-8"))
    found = {(line["name"], line["unit"]): line for line in before}
    found |= {(row.name, row.unit): asdict(row) for row in rows}
    path.write_text(json.dumps(list(found.values()), indent=1) + "\n", encoding="utf-8")
    return path
