"""Compare ours with Avro Java's on random pairs: python -m tests.registry.oracle --pairs 100000 --seed 1

Exits with 1 where a verdict differs. Differences in reports, texts and refusals are counted and shown.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time

from tests.brokers.running import Unavailable
from tests.registry.oracle.comparing import Tally, compare_pairs, compare_schemas
from tests.registry.oracle.java import Oracle, oracle
from tests.registry.oracle.mutations import pairs

CHUNK = 5_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.registry.oracle", description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000, help="how many, for each seed")
    parser.add_argument("--seed", type=int, action="append", help="of the random numbers; may be given again")
    parser.add_argument("--show", type=int, default=5, help="how many differences of each kind are shown")
    arguments = parser.parse_args()
    tally = Tally()
    begin = time.monotonic()
    try:
        with oracle() as java:
            for seed in arguments.seed or [1]:
                run(java, seed, arguments.pairs, tally)
    except Unavailable as problem:
        print(problem, file=sys.stderr)
        return 2
    show(tally, arguments.show)
    print(f"{time.monotonic() - begin:.0f} s; differences in verdict: {len(tally.verdicts)}")
    return 1 if tally.verdicts else 0


def run(java: Oracle, seed: int, count: int, tally: Tally) -> None:
    source = pairs(seed, count)
    while chunk := list(itertools.islice(source, CHUNK)):
        compare_pairs(java, chunk, tally)
        compare_schemas(java, [reader for reader, _ in chunk], tally)


def show(tally: Tally, at_most: int) -> None:
    for what, count in tally.counts.items():
        print(f"{count:>9,} {what}")
    for kind in ("verdicts", "reports", "texts", "refusals"):
        found = getattr(tally, kind)
        print(f"{len(found):>9,} differences in {kind}")
        for one in sorted(found, key=lambda one: len(json.dumps(one)))[:at_most]:
            for name, value in one.items():
                print(f"          {name}: {json.dumps(value)}")
            print()


if __name__ == "__main__":
    sys.exit(main())
