"""What travels between the programs: two topics, and the types they carry."""

import os
from dataclasses import dataclass
from datetime import datetime

from waybill import Topic

__all__ = ["AircraftDelayed", "Departure", "delays", "departures"]


@dataclass(frozen=True, slots=True)
class Departure:
    """One scheduled flight, and what became of it."""

    flight: str
    """Unique in the month: carrier and number, day, airport, as in `UA1545 2013-01-01 EWR`."""
    tail: str | None
    """The aircraft's tail number; `None`: nobody wrote it down."""
    scheduled: datetime
    """When it was to depart (UTC)."""
    delay: int | None
    """Minutes it left late, negative if early; `None`: it was cancelled."""


@dataclass(frozen=True, slots=True)
class AircraftDelayed:
    """An aircraft took more than an hour of delay from one flight into its next."""

    flight: str
    """The later of the two flights."""
    tail: str
    carried_over: int
    """Minutes."""


codec = None
"""JSON, and Avro where a schema registry is named."""
if registry := os.environ.get("FLIGHTS_REGISTRY"):
    from waybill_schema_registry.codec import Avro

    codec = Avro(registry)

departures = Topic(
    "flights.departures", Departure, key=lambda departure: departure.tail, groups=["delays"], codec=codec
)
delays = Topic("aircraft.delayed", AircraftDelayed, key=lambda event: event.tail, groups=["alerts"], codec=codec)
