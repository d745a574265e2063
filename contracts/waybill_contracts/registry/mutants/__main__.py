"""Show that each mutant is noticed: `python -m waybill_contracts.registry.mutants [NAME or ID …]`. Exits with 1 if one survives."""

from __future__ import annotations

import asyncio
import sys

from waybill_contracts.registry.mutants.trying import survivors

if __name__ == "__main__":
    wrong = asyncio.run(survivors(sys.argv[1:], print))
    for line in wrong:
        print(f"WRONG: {line}")
    sys.exit(1 if wrong else 0)
