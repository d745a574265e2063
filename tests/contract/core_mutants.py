"""Wrong about what stands around every adapter: each is to be noticed on each broker, since it depends on what that does."""

from __future__ import annotations

from collections.abc import Mapping

from tests.contract.mutant import Mutant, Mutants
from waybill.gates import CircuitBreaker, Failure

__all__ = ["named"]

CORE = Mutants()
instead_of = CORE.instead_of


def named(broker: str) -> Mapping[str, Mutant]:
    """Those, by names that no other broker's have."""
    return {f"{name}_on_{broker.replace('-', '_')}": mutant for name, mutant in CORE.items()}


@instead_of(CircuitBreaker, "free", "F08")
def starts_while_it_is_open(self: CircuitBreaker, now: float) -> bool:
    """An open circuit keeps nothing from starting."""
    del self, now
    return True


@instead_of(CircuitBreaker, "wanted", "F08")
def fetches_while_it_is_open(self: CircuitBreaker, number: int, waiting: int) -> int:
    """An open circuit keeps nothing from being fetched."""
    del self, waiting
    return number


@instead_of(CircuitBreaker, "forgives", "F08")
def charges_for_probes(self: CircuitBreaker, failure: Failure, began: float) -> bool:
    """What fails while the circuit is open costs an attempt."""
    del self, failure, began
    return False


@instead_of(CircuitBreaker, "_waited", "F08")
def never_probes(self: CircuitBreaker) -> None:
    """What is open stays so."""
    del self
