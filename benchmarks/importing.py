"""`import waybill` in a fresh interpreter, and `waybill --help`, wall clock from the start of the process to its end.

Beside it the interpreter alone and the peers. It also fails when the import has loaded a broker's client.
"""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

from benchmarks.harness import Row, Run, alone, interleave

__all__ = ["measure"]

CLIENTS = ("aio_pika", "aiormq", "aiokafka", "aioboto3", "aiobotocore", "botocore")
STATEMENTS = {
    "nothing": "pass",
    "waybill": "import waybill",
    "faststream": "import faststream",
    "asyncfast": "import asyncfast",
}


HELP = "import sys; sys.argv = ['waybill', '--help']; from waybill.cli import main; main()"
"""What the program `waybill` runs."""
HELPS = 20


def measure(run: Run) -> list[Row]:
    """Milliseconds that pass."""
    loaded = _output(f"import waybill, sys; print(*[name for name in {CLIENTS!r} if name in sys.modules])").split()
    if loaded:
        raise RuntimeError(f"`import waybill` loads broker clients: {', '.join(loaded)}")
    found = interleave({name: lambda code=code: _started(code) for name, code in STATEMENTS.items()}, run.rounds)
    helped = median(_started(HELP) for _ in range(HELPS))
    value = {name: median(times) for name, times in found.items()}
    return [
        alone(
            "import waybill vs bare interpreter", "ms wall", value["waybill"], baseline=value["nothing"], at_most=200
        ),
        alone("import waybill vs import faststream", "ms wall", value["waybill"], baseline=value["faststream"]),
        alone("import waybill vs import asyncfast", "ms wall", value["waybill"], baseline=value["asyncfast"]),
        alone("waybill --help vs import waybill", "ms wall", helped, baseline=value["waybill"], at_most=300),
    ]


def _started(code: str) -> float:
    began = time.perf_counter()
    _output(code)
    return (time.perf_counter() - began) * 1e3


def _output(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout
