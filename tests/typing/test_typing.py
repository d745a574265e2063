"""What must and what must not pass mypy and pyright, both strict.

The files `checked_*.py` beside this one are read by the checkers and never run. On each line:

    # error        both report an error here (for a handler: at its decorator)
    # reveal: T    both infer T here

Every other line must be free of errors.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = sorted(HERE.glob("checked_*.py"))

Found = dict[str, dict[int, list[str]]]
"""Messages by file name and line."""


def marks(file: Path, pattern: str) -> dict[int, str]:
    found = {}
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        if match := re.search(pattern, line):
            found[number] = match.group(1) if match.groups() else ""
    return found


@cache
def run(tool: str) -> tuple[Found, Found]:
    """The errors and the revealed types, as the tool reports them."""
    return _mypy() if tool == "mypy" else _pyright()


def _mypy() -> tuple[Found, Found]:
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--output", "json"]
    done = subprocess.run([*command, *map(str, FILES)], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    errors: Found = defaultdict(lambda: defaultdict(list))
    reveals: Found = defaultdict(lambda: defaultdict(list))
    for line in done.stdout.splitlines():
        if not line.startswith("{"):
            continue
        item = json.loads(line)
        name = Path(item["file"]).name
        if item["severity"] == "error":
            errors[name][item["line"]].append(item["message"])
        elif match := re.match(r'Revealed type is "(.*)"', item["message"]):
            reveals[name][item["line"]].append(match.group(1))
    return errors, reveals


def _pyright() -> tuple[Found, Found]:
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run([*command, *map(str, FILES)], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    errors: Found = defaultdict(lambda: defaultdict(list))
    reveals: Found = defaultdict(lambda: defaultdict(list))
    for item in json.loads(done.stdout)["generalDiagnostics"]:
        name, line = Path(item["file"]).name, item["range"]["start"]["line"] + 1
        if item["severity"] == "error":
            errors[name][line].append(item["message"])
        elif match := re.match(r'Type of ".*" is "(.*)"', item["message"], re.DOTALL):
            reveals[name][line].append(match.group(1))
    return errors, reveals


def plain(revealed: str) -> str:
    """The type without its modules, and a union's members in one order: the tools write them differently."""
    short = re.sub(r"[\w.]+\.(\w+)", r"\1", revealed)
    return re.sub(r"\[(.*)\]", lambda match: f"[{' | '.join(sorted(match.group(1).split(' | ')))}]", short)


@pytest.mark.parametrize("tool", ["mypy", "pyright"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_exactly_the_marked_lines_are_errors(tool: str, file: Path) -> None:
    expected = set(marks(file, r"# error$"))
    errors = run(tool)[0].get(file.name, {})
    missed = {number: file.read_text().splitlines()[number - 1] for number in expected - set(errors)}
    extra = {number: errors[number] for number in set(errors) - expected}
    assert not missed, f"{tool} accepts what must be an error"
    assert not extra, f"{tool} refuses what must be right"


@pytest.mark.parametrize("tool", ["mypy", "pyright"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_types_are_inferred_without_annotations(tool: str, file: Path) -> None:
    expected = {line: plain(text) for line, text in marks(file, r"# reveal: (.*)$").items()}
    revealed = {line: plain(text[0]) for line, text in run(tool)[1].get(file.name, {}).items()}
    assert revealed == expected
