"""A month of departures through a service of two processes, one of which is killed in the middle.

    python -m examples.flights.demo [--url URL] [--codec json|avro] [--limit N] [--restarts N]

Publishes the departures, keyed by aircraft; follows `service.py` through its journal; kills a worker with messages in its
hands; and compares what came of it with a plain loop over the same file. Exits with 0 if, and only if, all of it agrees.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

LEAST = 500
"""Departures that it takes for a worker to have something in its hands."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.flights.demo", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--url", help="the bus; it must be empty (default: a fresh SQLite file)")
    parser.add_argument(
        "--codec",
        choices=["json", "avro"],
        default="json",
        help="what the bodies are; avro: with a schema registry, which FLIGHTS_REGISTRY names (default: a fresh SQLite file)",
    )
    parser.add_argument("--limit", type=int, help="only the first LIMIT departures (default: all 27,004)")
    parser.add_argument("--restarts", type=int, default=0, help="how often somebody restarts the broker meanwhile")
    options = parser.parse_args()
    if options.limit is not None and options.limit < LEAST:
        parser.error(f"--limit: at least {LEAST}, so that there is a middle to kill a worker in")
    with tempfile.TemporaryDirectory(prefix="waybill-flights-") as folder:
        if options.codec == "avro":
            os.environ.setdefault("FLIGHTS_REGISTRY", f"sqlite:///{folder}/registry.db")
        from examples.flights import story  # noqa: PLC0415 - the contracts read the environment when they are imported

        story.on_signals()
        return story.demo(Path(folder), options.url, options.limit, options.restarts)


if __name__ == "__main__":
    sys.exit(main())
