"""All mutants by name, and how a URL comes to one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from urllib.parse import urlsplit

from waybill.adapter import Adapter
from waybill.loading import AdapterContext, open_adapter, use_adapter
from waybill_contracts.behaviours import SECTIONS
from waybill_contracts.mutants.standing_in import StandIn
from waybill_contracts.mutants.wrapping import Wrapped

__all__ = ["MUTANTS", "Mutant", "load_mutants", "mutant", "serve_mutants", "sort_of"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A wrong adapter, and the promises that must notice it, by id. `sort`: its class."""

    name: str
    wrong: str
    killed_by: tuple[str, ...]
    sort: type[Wrapped]


MUTANTS: dict[str, Mutant] = {}


def mutant(*killed_by: str) -> Callable[[type[Wrapped]], type[Wrapped]]:
    """A class is a mutant; its docstring says what it does wrong. Each of the promises must fail on it."""

    def register(sort: type[Wrapped]) -> type[Wrapped]:
        name = sort.__name__
        assert name not in MUTANTS, name
        MUTANTS[name] = Mutant(name, (sort.__doc__ or "").split("\n")[0], killed_by, sort)
        return sort

    return register


def load_mutants() -> dict[str, Mutant]:
    """All of them, by name; those of the stand-in as well."""
    for module in (*SECTIONS, "served"):
        import_module(f"waybill_contracts.mutants.{module}")  # registers them; they import this module
    return MUTANTS


def serve_mutants() -> None:
    """Let `mutant://…` URLs work in this process."""
    use_adapter("mutant", _open)


def _open(url: str, context: AdapterContext) -> Adapter:
    parts = urlsplit(url)
    adapter = sort_of(parts.netloc)(open_adapter(f"sqlite:///{parts.path}", context))
    if isinstance(adapter, StandIn):
        adapter.user = parts.query
    return adapter


def sort_of(name: str) -> type[Wrapped]:
    """The class of a mutant, whatever the case of its name; `StandIn` is sound."""
    if name.lower() == StandIn.__name__.lower():
        return StandIn
    return next(known.sort for known in load_mutants().values() if known.name.lower() == name.lower())
