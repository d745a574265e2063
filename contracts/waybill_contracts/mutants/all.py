"""Importing this registers all mutants."""

from waybill_contracts.mutants import key_promises

__all__ = ["key_promises"]
