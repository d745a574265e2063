"""All mutants by name, and how a URL comes to one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from urllib.parse import urlsplit

from waybill.adapter import Adapter
from waybill.loading import AdapterContext, open_adapter, use_adapter
from waybill_contracts.mutants.wrapping import Wrapped

__all__ = ["MUTANTS", "Mutant", "load_mutants", "mutant", "serve_mutants"]


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
    """All of them."""
    import_module("waybill_contracts.mutants.all")  # registers them; they import this module
    return MUTANTS


def serve_mutants() -> None:
    """Let `mutant://…` URLs work in this process."""
    use_adapter("mutant", _open)


def _open(url: str, context: AdapterContext) -> Adapter:
    parts = urlsplit(url)
    names = {name.lower(): known for name, known in load_mutants().items()}
    inner = f"sqlite:///{parts.path}" if parts.path else f"memory://{parts.query}"
    return names[parts.netloc.lower()].sort(open_adapter(inner, context))
