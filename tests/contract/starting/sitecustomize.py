"""Python runs this when it starts: so the workers of a promise have the mutant of the process that started them."""

from __future__ import annotations

import os

if name := os.environ.get("MUTANTS_NAME"):
    from tests.contract.mutating import install

    install(name)
