"""The service. It follows every aircraft through the month, and tells when one drags a long delay from flight to flight.

No broker is named here: `WAYBILL_URL` names it. Return means done, an exception means try again, `Reject` means never.
"""

import os
from pathlib import Path

from examples.flights.contracts import AircraftDelayed, Departure, delays, departures
from examples.flights.enrichment import EnrichmentUnavailable, enrich
from examples.flights.journal import Journal
from examples.flights.projection import Projection
from examples.flights.telemetry import instruments
from waybill import App, Bulkhead, CircuitBreaker, Delivery, RateLimit, Reject, Retry, RetryBudget

HOME = Path(os.environ.get("FLIGHTS_HOME", "flights-run"))
LONG = 60
"""Minutes carried over beyond which the world is told."""

projection = Projection(HOME / "projection.db")
app = App(
    "delays", middleware=[Journal(HOME / "journal").middleware], instruments=instruments("delays", HOME / "spans")
)

enrichment = CircuitBreaker("enrichment", failures=0.5, calls=50, counts=EnrichmentUnavailable)
"""Were it away for good, nothing would be fetched until it is back, and no flight would lose an attempt."""
disk = Bulkhead("projection", handlers=24)
"""The file bears so many at once, of both handlers together."""


@app.consume(
    departures,
    ordered=True,
    concurrency=16,
    window=64,
    retry=Retry.exponential(5, first=0.05, cap=1.0),
    breaker=enrichment,
    bulkhead=disk,
    limit=RateLimit(20_000),
    budget=RetryBudget(share=0.2),
)
async def follow(departure: Departure, delivery: Delivery[Departure]) -> None:
    """One aircraft's flights come one after another, in the order they were published, whichever process has them."""
    if departure.tail is None:
        raise Reject("no tail number")
    enrich(departure, delivery.attempt)
    carried_over = projection.follow(delivery.message.id, departure.tail, departure.delay)
    if carried_over > LONG:
        await app.publish(delays, AircraftDelayed(departure.flight, departure.tail, carried_over))


@app.consume(delays, group="alerts", concurrency=16, window=64, bulkhead=disk)
async def alert(event: AircraftDelayed, delivery: Delivery[AircraftDelayed]) -> None:
    """A second group, for those who want to know. A message published twice has the same id twice, and counts once."""
    projection.alert(delivery.message.id, event.flight, event.carried_over)
