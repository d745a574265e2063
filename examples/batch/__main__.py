"""The same readings stored one by one and in batches, in a couple of seconds and in a temporary folder.

python -m examples.batch
"""

import asyncio
import logging
import os
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from examples.batch import service
from examples.batch.contracts import Reading, readings
from examples.batch.table import Table
from waybill import App, Confirmed, Handled
from waybill.outcomes import DeadLetter

BEGIN = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
MEASURED = [Reading(f"s-{n % 20}", BEGIN + timedelta(seconds=n // 20), 20 + n % 7) for n in range(1000)]
POISONED = Reading("s-20", BEGIN, -300.0)
SENT = [*MEASURED[:500], POISONED, *MEASURED[490:]]
"""Ten of them twice, and one that cannot be."""

one_by_one = App("one-by-one")


@one_by_one.consume(readings, concurrency=1)
def store(reading: Reading) -> None:
    """What `service.store` is without a batch."""
    service.check(reading)
    service.table.add([reading])


@dataclass(frozen=True, slots=True)
class Run:
    """What became of the readings, and what it took."""

    transactions: int
    rows: int
    dead: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.transactions:>14,}{self.rows:>9,}{self.dead:>15,}   {self.seconds:.1f} s"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="waybill-batch-") as folder:
        os.environ["WAYBILL_URL"] = f"sqlite:///{folder}/bus.db"
        sys.exit(0 if asyncio.run(demo(Path(folder))) else 1)


async def demo(folder: Path) -> bool:
    """Whether both ways have stored all there was to store."""
    logging.getLogger("waybill").setLevel(logging.ERROR)  # it warns of the dead letter, which the table shows
    async with service.app.running(consume=False):
        results = await service.app.publish_many(readings, SENT)
    taken = sum(isinstance(result, Confirmed) for result in results)
    print(f"{taken:,} readings are on the bus: ten came twice, and one cannot be\n")
    single = await run(one_by_one, folder / "single.db")
    batches = await run(service.app, folder / "batches.db")
    print(f"{'':17}{'transactions':>14}{'rows':>9}{'dead letters':>15}   time")
    print(f"{'one by one':17}{single}\n{'batches of 100':17}{batches}")
    print(f"\n{single.transactions - batches.transactions:,} transactions saved")
    return all((done.rows, done.dead) == (len(MEASURED), 1) for done in (single, batches))


async def run(app: App, path: Path) -> Run:
    """Let it consume until each reading that was sent is stored or dead."""
    ended = asyncio.Queue[Handled]()
    app.observe(ended.put_nowait)
    with closing(Table(path)) as service.table:
        start = time.monotonic()
        async with app.running(), asyncio.timeout(30):
            settlements = [(await ended.get()).settlement for _ in SENT]
        took = time.monotonic() - start
        dead = sum(isinstance(settlement, DeadLetter) for settlement in settlements)
        return Run(service.table.transactions, service.table.rows(), dead, took)


if __name__ == "__main__":
    main()
