"""The promises, a module a section. Importing this registers all of them."""

from waybill_contracts.behaviours import (
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
    "settlement",
    "time",
    "topology",
]
