"""Importing this registers all mutants."""

from waybill_contracts.mutants import (
    capabilities,
    groups,
    key_promises,
    lifecycle,
    order,
    payload,
    publishing,
    time,
    topology,
)

__all__ = ["capabilities", "groups", "key_promises", "lifecycle", "order", "payload", "publishing", "time", "topology"]
