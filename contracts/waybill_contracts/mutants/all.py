"""Importing this registers all mutants."""

from waybill_contracts.mutants import (
    capabilities,
    dead_letters,
    faults,
    flow,
    groups,
    lifecycle,
    order,
    payload,
    publishing,
    retries,
    served,
    settlement,
    time,
    topology,
)

__all__ = [
    "capabilities",
    "dead_letters",
    "faults",
    "flow",
    "groups",
    "lifecycle",
    "order",
    "payload",
    "publishing",
    "retries",
    "served",
    "settlement",
    "time",
    "topology",
]
