"""Importing this registers all mutants."""

from waybill_contracts.mutants import groups, key_promises, lifecycle, order, payload, publishing, time, topology

__all__ = ["groups", "key_promises", "lifecycle", "order", "payload", "publishing", "time", "topology"]
