"""Show that each wrong adapter is noticed on its real broker: `python -m tests.contract.mutating [NAME, ID or BROKER …]`.

Brokers are those of tests/brokers. Where none can be had this says why, and fails with CI=true. Exits with 1 if one survives.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.brokers.plugin import ACTIVE, describe
from tests.brokers.running import Running, Unavailable
from tests.brokers.session import Session
from tests.contract import core_mutants, kafka_mutants, postgres_mutants, rabbitmq_mutants, sqs_mutants
from tests.contract.kafka import Kafka
from tests.contract.mutant import Mutant
from tests.contract.postgres import Ours
from tests.contract.rabbitmq import Rabbit
from tests.contract.sqs import QUEUE, QUEUE_FIFO
from tests.leaving_out import in_ci
from waybill_contracts.harness import Harness
from waybill_contracts.mutants.asking import ask
from waybill_contracts.mutants.trying import Tried, attempt, tell

HARNESSES: dict[str, Harness] = {
    "rabbitmq": Rabbit("rabbitmq", "rabbitmq"),
    "kafka": Kafka(),
    "sqs": QUEUE_FIFO,
    "sqs-standard": QUEUE,
    "postgres": Ours(),
}
MUTANTS: dict[str, dict[str, Mutant]] = {
    "rabbitmq": {**rabbitmq_mutants.MUTANTS, **core_mutants.named("rabbitmq")},
    "kafka": {**kafka_mutants.MUTANTS, **core_mutants.named("kafka")},
    "sqs": {**sqs_mutants.MUTANTS, **core_mutants.named("sqs")},
    "sqs-standard": sqs_mutants.STANDARD,
    "postgres": {**postgres_mutants.MUTANTS, **core_mutants.named("postgres")},
}
"""By broker and name."""
SERVERS = {"sqs-standard": "sqs"}
"""Of those that are no servers of their own."""
VARIABLE = "MUTANTS_SESSION"
"""The name of the session whose broker a mutant's process uses."""
MUTANT = "MUTANTS_NAME"
"""The mutant that the workers of a promise have as well: what stands in STARTING reads it when they start."""
PLACE = "::"
"""In the place of a test, and in no promise's id."""
ROOT = Path(__file__).parents[2]
STARTING = Path(__file__).parent / "starting"


async def run(broker: str, asked: Sequence[str]) -> int:
    asked = [word for word in asked if word not in MUTANTS]
    cases = [(name, ident) for name, known in MUTANTS[broker].items() for ident in known.killed_by]
    promises = [case for case in cases if PLACE not in case[1]]
    tests = [case for case in cases if PLACE in case[1] and (not asked or {*case} & {*asked})]
    found = await ask(promises, asked, module=__spec__.name)
    found += [await _by_a_test(name, test) for name, test in tests]
    survivors = [f"{tried.name} survives {tried.ident}: {tried.said}" for tried in found if tried.holds]
    print(f"\n{len(found) - len(survivors)} of {len(found)} killed on {broker}")
    for line in survivors:
        print(f"WRONG: {line}")
    return 1 if survivors else 0


async def _by_a_test(name: str, test: str) -> Tried:
    """Whether the test passes though the mutant is there, in its process as in its workers'."""
    began = time.monotonic()
    environment = _with_mutant(name) | {"PYTEST_XDIST_TESTRUNUID": os.environ[VARIABLE]}  # by which it finds the broker
    quiet = ["-q", "-x", "--no-header", "--tb=line", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    command = [sys.executable, "-m", "pytest", *quiet, str(ROOT / test)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE)
    told = (await process.communicate())[0].decode()
    if not re.search(r"^1 (passed|failed)", told, re.MULTILINE):
        raise RuntimeError(f"{name} by {test}: it was not shown:\n{told}")
    said = next((line for line in told.splitlines() if line.startswith("E ")), "")
    tried = Tried(name, test, holds=process.returncode == 0, said=said, seconds=time.monotonic() - began)
    print(
        f"{'SURVIVED' if tried.holds else 'killed':9} {name} by {test} in {tried.seconds:.1f} s: {said[-100:]}",
        flush=True,
    )
    return tried


def _with_mutant(name: str) -> dict[str, str]:
    """The environment of a process that has it when it starts."""
    paths = [str(STARTING), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, MUTANT: name, "PYTHONPATH": os.pathsep.join(paths)}


def main(asked: Sequence[str]) -> int:
    os.environ[VARIABLE] = secrets.token_hex(8)
    session = Session(os.environ[VARIABLE], lambda text: print(text, file=sys.stderr, flush=True))
    try:
        return max(
            _on(name, session, asked) for name in MUTANTS if name in asked or not asked or not {*MUTANTS} & {*asked}
        )
    finally:
        session.close()


def _on(name: str, session: Session, asked: Sequence[str]) -> int:
    server = SERVERS.get(name, name)
    broker = session.start([server])[server]
    if isinstance(broker, Running):
        return asyncio.run(run(name, asked))
    print(f"{name}: {describe(broker)}")
    return int(not isinstance(broker, Unavailable) or in_ci())


def install(name: str) -> None:
    """Put it in its place in this process."""
    next(known[name] for known in MUTANTS.values() if name in known).install()


def one(name: str, ident: str) -> None:
    """What a mutant's process does."""
    broker = next(broker for broker, known in MUTANTS.items() if name in known)
    ACTIVE[:] = [Session(os.environ[VARIABLE], lambda _: None)]
    ACTIVE[0].start([SERVERS.get(broker, broker)])
    os.environ.update(_with_mutant(name))
    install(name)
    logging.disable()  # what mutants cause is not ours to tell
    tell(asyncio.run(attempt(name, ident, HARNESSES[broker])))


if __name__ == "__main__":
    given = sys.argv[1:]
    if VARIABLE in os.environ:
        one(*given)
    sys.exit(main(given))
