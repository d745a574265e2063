"""Fuzz for some seconds, guided by what code is reached: python -m tests.fuzz [TARGET] [--seconds 60] [FILE …]

With files, only these are looked at: what a run has found, to see it again. Exits with 1 where something was found.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["waybill_schema_registry", "fastavro"]):
    from tests.fuzz.targets import TARGETS
    from tests.fuzz.test_targets import NASTY, TEXTS

FOUND = Path("build/fuzz")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="?", choices=TARGETS, help="all, one after another, if none is given")
    parser.add_argument("files", nargs="*", help="inputs to look at once more")
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    arguments = parser.parse_args()
    if arguments.target:
        fuzz(arguments.target, arguments.seconds, arguments.files)
    each = max(1, arguments.seconds // len(TARGETS))
    commands = ([sys.executable, "-m", "tests.fuzz", target, "--seconds", str(each)] for target in TARGETS)
    failed = [command for command in commands if subprocess.run(command, check=False).returncode]
    return 1 if failed else 0


def fuzz(target: str, seconds: int, files: list[str]) -> None:
    """Ends the process: libFuzzer does."""
    corpus = FOUND / target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate([text.encode() for text in TEXTS] if target == "schema_text" else NASTY):
        (corpus / f"seed-{number}").write_bytes(data)
    bounds = [
        "-max_len=65536",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-verbosity=0",
        f"-max_total_time={seconds}",
        "-print_final_stats=1",
    ]
    atheris.Setup([target, *(files or [*bounds, f"-artifact_prefix={corpus}-", str(corpus)])], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
