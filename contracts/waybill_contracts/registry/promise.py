"""One promise of a store, and all of them by id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from waybill_contracts.registry.trial import Trial

__all__ = ["PREFIX", "PROMISES", "Check", "Promise", "promise"]

Check: TypeAlias = Callable[["Trial"], Awaitable[None]]
"""Shows the promise, or raises."""

PREFIX = "store-"
"""How the ids begin."""
PROMISES: dict[str, Promise] = {}
"""All promises, by id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """together: it takes several who use one place."""

    id: str
    name: str
    check: Check
    together: bool = False
    verbs: tuple[str, ...] = ()
    limit: float = 60.0
    """Seconds after which it counts as broken."""


def promise(number: int, *, together: bool = False) -> Callable[[Check], Check]:
    """Make the promise of this number of a function, which is named for what it promises."""

    def register(check: Check) -> Check:
        ident = f"{PREFIX}{number:02}"
        assert ident not in PROMISES, ident
        PROMISES[ident] = Promise(id=ident, name=check.__name__, check=check, together=together)
        return check

    return register
