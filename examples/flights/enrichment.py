"""A stand-in for another system that a handler asks, and that is sometimes away."""

from zlib import crc32

from examples.flights.contracts import Departure

__all__ = ["EnrichmentUnavailable", "enrich", "unlucky"]

SEED = "january"
PERCENT = 3


class EnrichmentUnavailable(Exception):
    """The other system did not answer. Trying again helps."""


def enrich(departure: Departure, attempt: int) -> None:
    """Fails the first attempt (`attempt` is 1) for 3 % of the flights: always the same ones."""
    if attempt == 1 and unlucky(departure):
        raise EnrichmentUnavailable(departure.flight)


def unlucky(departure: Departure) -> bool:
    """Whether the first attempt for this flight fails."""
    return crc32(f"{SEED}/{departure.flight}".encode()) % 100 < PERCENT
