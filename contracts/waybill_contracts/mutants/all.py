"""Importing this registers all mutants."""

from waybill_contracts.mutants import (
    dead_letters,
    faults,
    flow,
    groups,
    key_promises,
    lifecycle,
    order,
    retries,
    settlement,
    time,
)

__all__ = [
    "dead_letters",
    "faults",
    "flow",
    "groups",
    "key_promises",
    "lifecycle",
    "order",
    "retries",
    "settlement",
    "time",
]
