"""Wrong adapters: what stands somewhere in a sound one is replaced, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import isfunction, signature
from typing import Any

__all__ = ["Mutant", "Mutants"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """What stands at `name` in `module` is replaced. killed_by: the promises, by id, or the
    tests, by their place, that must fail then."""

    module: Any
    name: str
    wrong: Any
    killed_by: tuple[str, ...]

    def install(self) -> None:
        setattr(self.module, self.name, self.wrong)


class Mutants(dict[str, Mutant]):
    """Of one adapter, by their names."""

    def instead_of(self, module: Any, name: str, *killed_by: str) -> Callable[[Any], Any]:
        """A class, a function or a property is a mutant; its docstring says what it does wrong."""

        def register(wrong: Any) -> Any:
            sound = getattr(module, name)
            if isfunction(wrong) and isfunction(sound):  # or it is killed for what nobody meant
                assert [*signature(wrong).parameters] == [*signature(sound).parameters], f"{wrong.__name__}: {name}"
            self[getattr(wrong, "fget", wrong).__name__] = Mutant(module, name, wrong, killed_by)
            return wrong

        return register
