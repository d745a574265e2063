"""A dependency is down for a minute with a full backlog, with a circuit breaker and without: `python -m benchmarks.outage`.

On each broker with all settings as they are by default: 10 handlers, 5 attempts, the broker's own delivery limit. Each handling
asks the dependency, which takes 10 ms; while it is down, it refuses within 1 ms, with a `ConnectionError`. It comes back after a
minute, and what is left is handled to the end. Counted are handlings that failed, attempts that this cost (retries and dead letters), dead letters,
and the seconds from the dependency's return until nothing was left.

    python -m benchmarks.outage [embedded|rabbitmq|kafka|sqs …] [--seconds 60] [--backlog 10000]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.brokers import broker
from benchmarks.harness import scratch
from benchmarks.payload import Order, order
from tests.brokers.administration import Administration
from waybill import App, CircuitBreaker, Confirmed, Delivery, Handled, Settings, Topic
from waybill.outcomes import Ack, DeadLetter, Defer
from waybill_sqs import SQS

__all__ = ["Seen", "main", "outage"]

CALL = 0.01
"""Seconds that the dependency takes to answer."""
REFUSAL = 0.001
"""Seconds that it takes to refuse."""
PATIENCE = 900.0
"""Seconds after its return until a run has failed."""


@dataclass(slots=True)
class Seen:
    """What has come of one outage."""

    failed: int = 0
    probes: int = 0
    spent: int = 0
    dead: int = 0
    handled: int = 0
    drained: float = 0.0
    """Seconds."""


async def outage(url: str, *, breaker: bool, backlog: int, seconds: float) -> Seen:
    """Fill a topic, take the dependency away for so many seconds, and wait until nothing is left."""
    topic = Topic(f"outage.{'with' if breaker else 'without'}", Order, groups=["shop"]).on(SQS(direct=True))
    app = App("shop", settings=Settings(url=url), topics=[topic])
    async with app.running(consume=False):
        results = await app.publish_many(topic, [order(number) for number in range(backlog)], deadline=120)
        if not all(isinstance(result, Confirmed) for result in results):
            raise RuntimeError("what was to be consumed could not be published")
    seen, bank, over = Seen(), CircuitBreaker("bank"), set[str]()
    options: dict[str, Any] = {"breaker": bank} if breaker else {}
    back = time.monotonic() + seconds

    @app.consume(topic, **options)
    async def charge(_: Order, delivery: Delivery[Order]) -> None:
        down = time.monotonic() < back
        await asyncio.sleep(REFUSAL if down else CALL)
        if down:
            seen.failed += 1
            raise ConnectionError(f"the bank is down, at attempt {delivery.attempt}")

    def count(handled: Handled) -> None:
        settlement = handled.settlement
        seen.spent += isinstance(settlement, Defer | DeadLetter)
        seen.dead += isinstance(settlement, DeadLetter)
        seen.handled += isinstance(settlement, Ack)
        if not isinstance(settlement, Defer):
            over.add(handled.delivery.message.id)

    app.observe(count)
    back = time.monotonic() + seconds
    async with app.running(), asyncio.timeout(seconds + PATIENCE):
        while len(over) < backlog or time.monotonic() < back:
            await asyncio.sleep(0.05)
        seen.drained = time.monotonic() - back
    seen.probes = bank.describe().transitions["half-open"]
    return seen


# ---------------------------------------------------------------- where


@contextmanager
def _embedded(folder: Path) -> Generator[str]:
    yield f"sqlite:///{folder / f'outage-{time.monotonic_ns()}.db'}"


@contextmanager
def _rabbitmq(_: Path) -> Generator[str]:
    with Administration(broker("rabbitmq")).vhost() as url:
        yield url


@contextmanager
def _kafka(_: Path) -> Generator[str]:
    yield broker("kafka").url


@contextmanager
def _sqs(_: Path) -> Generator[str]:
    os.environ.update(AWS_ACCESS_KEY_ID="outage", AWS_SECRET_ACCESS_KEY="outage")
    yield f"sqs://us-east-1?endpoint={broker('sqs').url}"


BROKERS: dict[str, Callable[[Path], Any]] = {
    "embedded": _embedded,
    "rabbitmq": _rabbitmq,
    "kafka": _kafka,
    "sqs": _sqs,
}


def main() -> None:
    """Run what was asked for, and print a row of the table as soon as there is one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outage", description=__doc__)
    parser.add_argument("brokers", nargs="*", help=f"of {', '.join(BROKERS)}; default: all")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--backlog", type=int, default=10_000)
    arguments = parser.parse_args()
    if unknown := set(arguments.brokers) - set(BROKERS):
        parser.error(f"no broker: {', '.join(sorted(unknown))}")
    logging.disable(logging.WARNING)  # a line for each failure
    print("| broker | breaker | failed | probes | attempts spent | dead letters | handled | s to drain |")
    print("|---|---|---|---|---|---|---|---|")
    with scratch(None) as folder:
        for name in arguments.brokers or BROKERS:
            for breaker in (True, False):
                with BROKERS[name](folder) as url:
                    seen = asyncio.run(
                        outage(url, breaker=breaker, backlog=arguments.backlog, seconds=arguments.seconds)
                    )
                probes = f"{seen.probes}" if breaker else "-"
                print(
                    f"| {name} | {'with' if breaker else 'without'} | {seen.failed:,} | {probes} | {seen.spent:,} | "
                    f"{seen.dead:,} | {seen.handled:,} | {seen.drained:.0f} |"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
