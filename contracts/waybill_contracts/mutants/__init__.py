"""Adapters that are wrong in one way each: what the promises must notice.

`mutant://NAME/PATH` is the embedded broker on the file PATH with the mutant NAME around it.
"""

from waybill_contracts.mutants.running import MUTANTS, Mutant, mutant, serve_mutants

__all__ = ["MUTANTS", "Mutant", "mutant", "serve_mutants"]
