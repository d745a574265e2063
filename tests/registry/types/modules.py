"""Generated source as a module, for as long as a test needs it."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

__all__ = ["module_of"]

_NUMBER = count()


@contextmanager
def module_of(source: str) -> Iterator[types.ModuleType]:
    module = types.ModuleType(f"generated_{next(_NUMBER)}")
    sys.modules[module.__name__] = module  # pydantic looks names up there
    try:
        exec(compile(source, module.__name__, "exec"), vars(module))
        yield module
    finally:
        del sys.modules[module.__name__]
