"""Show that each wrong adapter for RabbitMQ is noticed on a real one: `python -m tests.contract.mutating [NAME or ID …]`.

The broker is one of tests/brokers. Where none can be had this says why, and fails with CI=true. Exits with 1 if one survives.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
from collections.abc import Sequence

from tests.brokers.plugin import ACTIVE, describe
from tests.brokers.running import Running, Unavailable
from tests.brokers.session import Session
from tests.contract.rabbitmq import Rabbit
from tests.contract.rabbitmq_mutants import MUTANTS
from tests.leaving_out import in_ci
from waybill_contracts.mutants.asking import ask
from waybill_contracts.mutants.trying import attempt, tell

BROKER = "rabbitmq"
VARIABLE = "MUTANTS_SESSION"
"""The name of the session whose broker a mutant's process uses."""


async def run(asked: Sequence[str]) -> int:
    cases = [(name, ident) for name, known in MUTANTS.items() for ident in known.killed_by]
    found = await ask(cases, asked, module=__spec__.name)
    survivors = [f"{tried.name} survives {tried.ident}: {tried.said}" for tried in found if tried.holds]
    print(f"\n{len(found) - len(survivors)} of {len(found)} killed on RabbitMQ")
    for line in survivors:
        print(f"WRONG: {line}")
    return 1 if survivors else 0


def main(asked: Sequence[str]) -> int:
    os.environ[VARIABLE] = secrets.token_hex(8)
    session = Session(os.environ[VARIABLE], lambda text: print(text, file=sys.stderr, flush=True))
    try:
        broker = session.start([BROKER])[BROKER]
        if isinstance(broker, Running):
            return asyncio.run(run(asked))
        print(f"{BROKER}: {describe(broker)}")
        return int(not isinstance(broker, Unavailable) or in_ci())
    finally:
        session.close()


def one(name: str, ident: str) -> None:
    """What a mutant's process does."""
    ACTIVE[:] = [Session(os.environ[VARIABLE], lambda _: None)]
    ACTIVE[0].start([BROKER])
    MUTANTS[name].install()
    logging.disable()  # what mutants cause is not ours to tell
    tell(asyncio.run(attempt(name, ident, Rabbit(name, BROKER))))


if __name__ == "__main__":
    given = sys.argv[1:]
    if VARIABLE in os.environ:
        one(*given)
    sys.exit(main(given))
