"""`python -m benchmarks [--only NAME] [--quick] [--folder FOLDER]`: all cases, a table, and results.json."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

from benchmarks.harness import Row, Run, scratch, table, write_results

CASES = (
    "importing", "avro_codec", "pipeline", "guards", "publish", "consume", "batches", "scale", "workers", "redriving", "dlq_index", "processes", "latency", "tracing",
    "rabbit_publish", "rabbit_consume", "rabbit_order", "rabbit_latency", "rabbit_memory", "rabbit_redriving",
    "kafka_publish", "kafka_consume", "kafka_latency", "kafka_rebalance", "kafka_memory", "kafka_redriving",
    "sqs_publish", "sqs_consume", "sqs_calls",
    "registry_check", "registry_server",
    "tracing", "metrics",
)  # fmt: skip
"""Modules of this package; each has a `measure`."""


def main() -> int:
    """Run what was asked for. Returns 1 when a target was missed, so that a script can tell."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=CASES, help="one case instead of all")
    parser.add_argument("--quick", action="store_true", help="fewer messages and rounds: a look, not a measurement")
    parser.add_argument("--folder", type=Path, help="where files are written; must be on a disk (default: beside this)")
    arguments = parser.parse_args()
    began = time.monotonic()
    rows: list[Row] = []
    with scratch(arguments.folder) as folder:
        run = Run(3, 0.25, folder) if arguments.quick else Run(5, 1.0, folder)
        for case in CASES if arguments.only is None else (arguments.only,):
            started = time.monotonic()
            rows += importlib.import_module(f"benchmarks.{case}").measure(run)
            print(f"{case}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    print(table(rows))
    print(f"\n{time.monotonic() - began:.0f} s")
    if not arguments.quick:
        print(f"written to {write_results(rows, whole=arguments.only is None).name}")
    return int(any(row.met is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
