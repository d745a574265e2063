"""What must come out: one plain loop over the file, without messages, processes or failures."""

import csv
import gzip
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from examples.flights.contracts import Departure
from examples.flights.enrichment import unlucky

__all__ = ["Expected", "expect", "flights"]

FILE = Path(__file__).parent / "data" / "january-2013.csv.gz"


@dataclass(slots=True)
class Expected:
    """Every figure that can be known beforehand."""

    published: int = 0
    handled: int = 0
    """Flights that the handler returns for."""
    retried: int = 0
    """Flights whose first attempt fails."""
    rejected: int = 0
    """Flights without a tail number."""
    aircraft: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Of each: its flights, and the minutes carried over from flight to flight, summed up."""
    alerts: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    """Flights that took over more than an hour, and how many minutes; sorted."""


def flights(limit: int | None = None) -> list[Departure]:
    """The first `limit` departures of the month (all: `None`), by schedule; the file has them as they really left."""
    with gzip.open(FILE, "rt", newline="") as file:
        found = [_departure(row) for row in csv.DictReader(file)]
    found.sort(key=lambda departure: departure.scheduled)
    return found[:limit]


def _departure(row: dict[str, str]) -> Departure:
    hour = datetime.fromisoformat(row["time_hour"])
    return Departure(
        flight=f"{row['carrier']}{row['flight']} {row['year']}-{row['month']:0>2}-{row['day']:0>2} {row['origin']}",
        tail=None if row["tailnum"] == "NA" else row["tailnum"],
        scheduled=hour + timedelta(minutes=int(row["minute"])),
        delay=None if row["dep_delay"] == "NA" else int(row["dep_delay"]),
    )


def expect(departures: list[Departure]) -> Expected:
    """The loop. `departures` are in the order of schedule."""
    result = Expected()
    previous: dict[str, int | None] = {}
    for departure in departures:
        result.published += 1
        if departure.tail is None:
            result.rejected += 1
            continue
        result.handled += 1
        result.retried += unlucky(departure)
        before = previous.get(departure.tail)
        carried_over = 0 if before is None or departure.delay is None else max(0, before)
        previous[departure.tail] = departure.delay
        if carried_over > 60:
            result.alerts.append((departure.flight, carried_over))
        count, total = result.aircraft.get(departure.tail, (0, 0))
        result.aircraft[departure.tail] = (count + 1, total + carried_over)
    result.alerts.sort()
    return result
