"""The service: as many readings as have come are one transaction. A reading that cannot be is a dead letter by itself."""

import os
from pathlib import Path

from examples.batch.contracts import Reading, readings
from examples.batch.table import Table
from waybill import App, Batch, ItemsFailed, Reject

app = App("batches")
table = Table(Path(os.environ.get("READINGS_FILE", "readings.db")))

ABSOLUTE_ZERO = -273.15


def check(reading: Reading) -> None:
    """Raises `Reject`."""
    if reading.celsius < ABSOLUTE_ZERO:
        raise Reject(f"nothing is as cold as {reading.celsius:g} °C")


@app.consume(readings, batch=Batch(100, wait=0.5), concurrency=1)
def store(batch: list[Reading]) -> None:
    """A hundred, or what has come half a second after the first. Plain, as SQLite is: it runs in a thread."""
    good: list[Reading] = []
    failed: dict[int, Reject] = {}
    for place, reading in enumerate(batch):
        try:
            check(reading)
        except Reject as reason:
            failed[place] = reason
        else:
            good.append(reading)
    table.add(good)
    if failed:
        raise ItemsFailed(failed)  # these only: the others are done
