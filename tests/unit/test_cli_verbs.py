"""What holds for every verb: help with an example, `--json`, and nothing in a pipe that only a terminal understands."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.unit.test_cli import GOOD, Shell
from waybill.cli.letters import REASONS
from waybill.cli.program import program
from waybill.message import DeadLetterRecord


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from walk(below, (*path, name))
    else:
        yield path, command


VERBS = dict(walk(typer.main.get_command(program)))
NEEDED: dict[tuple[str, ...], list[str]] = {
    ("publish",): ["orders.placed", "--data", GOOD],
    ("dlq", "show"): ["ID"],
    ("dlq", "discard"): ["--reason-text", "a test"],
    ("dlq", "export"): ["--to", "FILE"],
    ("backup",): ["COPY"],
    ("replay",): ["orders.placed"],
    ("seek",): ["orders.placed", "--since", "2h"],
}
"""What a verb cannot do without."""
OF_A_LOG = {("replay",), ("seek",)}
"""The embedded broker refuses them."""
SPEAKING = [path for path in VERBS if path != ("run",)]  # `run` has nothing to print: it logs


def name_of(path: tuple[str, ...]) -> str:
    return " ".join(path)


def test_the_walk_finds_the_verbs() -> None:
    assert {("run",), ("doctor",), ("dlq", "export"), ("topology", "plan")} <= VERBS.keys()


@pytest.mark.parametrize("path", VERBS, ids=name_of)
def test_every_verb_explains_itself_with_an_example(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    program([*path, "--help"], standalone_mode=False)
    told = capsys.readouterr().out
    assert f"Example: waybill {name_of(path)}" in told
    assert "\x1b" not in told
    assert max(map(len, told.splitlines())) <= 80
    for parameter in VERBS[path].params:
        assert parameter.help, parameter.name
        assert parameter.metavar or parameter.is_flag, f"{parameter.opts}: without a metavar its help shows a type"


@pytest.mark.parametrize("path", SPEAKING, ids=name_of)
def test_every_verb_that_prints_has_json(path: tuple[str, ...]) -> None:
    assert any("--json" in parameter.opts for parameter in VERBS[path].params)


def test_every_verb_prints_json_or_plain_text_in_a_pipe(shell: Shell) -> None:
    """Those that change something only say what they would do; so all of them can be called at once."""
    shell.done("publish", "orders.placed", "--data", '{"order_id": "A-1", "amount": -1}')
    shell.kill_some()
    (letter,) = json.loads(shell.done("dlq", "list", "--json"))

    def call(path: tuple[str, ...], *more: str) -> subprocess.CompletedProcess[str]:
        file = f"letters{len(more)}.jsonl"
        needed = [
            {"ID": letter["id"], "FILE": file, "COPY": f"copy{len(more)}.db"}.get(word, word)
            for word in NEEDED.get(path, [])
        ]
        return shell.run(*path, *needed, *more)

    with ThreadPoolExecutor(4) as threads:
        plain = dict(zip(SPEAKING, threads.map(call, SPEAKING), strict=True))
        as_json = dict(zip(SPEAKING, threads.map(lambda path: call(path, "--json"), SPEAKING), strict=True))
    for path in SPEAKING:
        for ended in (plain[path], as_json[path]):
            code = 2 if path in OF_A_LOG else int(path == ("doctor",))  # which finds the letter
            assert ended.returncode == code, (path, ended.stderr)
            assert not re.search("[\x1b\r━]", ended.stdout + ended.stderr), path
        if path in OF_A_LOG:
            assert "start='earliest'" in plain[path].stderr, path
            continue
        assert plain[path].stdout, path
        assert isinstance(json.loads(as_json[path].stdout), list), path


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_the_version(shell: Shell) -> None:
    assert shell.done("--version") == f"waybill {version('waybill')}\n"


def test_help_is_quick_since_it_loads_only_what_it_shows() -> None:
    code = (
        "import sys\n"
        "from waybill.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "slow = {'pydantic', 'pydantic_settings', 'sqlite3', 'tomllib', 'watchfiles', 'rich.progress', 'waybill_embedded'}\n"
        "print(sorted(slow & sys.modules.keys()), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert ended.stderr == "[]\n"


def test_the_reasons_are_those_that_a_record_names() -> None:
    text = inspect.getsource(DeadLetterRecord).partition('"""One of ')[2].partition('"""')[0]
    assert {*re.findall(r"`(\w+)`", text), "unknown"} == set(REASONS)
