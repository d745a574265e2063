"""Show that each mutant is noticed: `python -m waybill_contracts.mutants [NAME or ID …]`.

Runs each mutant through the promises that must notice it, several processes at once, and prints which did. Exits with 1 if
one survives, or a promise has no mutant and no reason for that.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Sequence

from waybill_contracts.embedded import NOT_OF_A_FILE
from waybill_contracts.mutants.asking import ask
from waybill_contracts.mutants.running import load_mutants
from waybill_contracts.mutants.standing_in import StandIn
from waybill_contracts.mutants.trying import Tried
from waybill_contracts.proving import load_all

NO_MUTANT: dict[str, str] = dict.fromkeys(
    (f"fault-{row:02}" for row in (2, 3, 4, 5, 7, 8, 10, 12, 13, 14, 16, 17, 29)),
    "it needs a server, or a network that leads to one",
)
"""Promises that no mutant can be made for here, by id, and why."""


def show(found: Sequence[Tried], *, whole: bool) -> list[str]:
    """Print which promise has killed which, and answer what is wrong."""
    mutants, killed = load_mutants(), defaultdict[str, list[str]](list)
    for tried in found:
        if not tried.holds:
            killed[tried.ident].append(tried.name)
    print()
    for ident, promise in load_all().items():
        if whole or ident in killed:
            names = ", ".join(killed[ident]) or f"no mutant here: {NO_MUTANT.get(ident, 'and nobody says why')}"
            print(f"{ident} {promise.name.replace('_', ' ')}: {names}")
    wrong = [
        f"{tried.name} survives {tried.ident}: {mutants[tried.name].wrong} {tried.said}".strip()
        for tried in found
        if tried.holds and tried.name in mutants
    ]
    wrong += [f"the sound {t.name} breaks {t.ident}: {t.said}" for t in found if not (t.holds or t.name in mutants)]
    if whole:
        wrong += [f"{ident} has no mutant" for ident in load_all() if not (killed[ident] or ident in NO_MUTANT)]
    return wrong


async def main(asked: Sequence[str]) -> int:
    promises, mutants = load_all(), load_mutants()
    cases = [(StandIn.__name__, ident) for ident, known in promises.items() if set(known.verbs) & NOT_OF_A_FILE.keys()]
    cases += [(name, ident) for name, known in mutants.items() for ident in known.killed_by]
    found = await ask(cases, asked)
    wrong = show(found, whole=not asked)
    killed = sum(1 for tried in found if tried.name in mutants and not tried.holds)
    print(f"\n{killed} of {sum(1 for tried in found if tried.name in mutants)} killed")
    for line in wrong:
        print(f"WRONG: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
