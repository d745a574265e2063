"""Stores that are wrong in one way each: what the promises must notice."""

from waybill_contracts.registry.mutants.wrapping import MUTANTS, Mutant, Wrapped, mutant

__all__ = ["MUTANTS", "Mutant", "Wrapped", "mutant"]
