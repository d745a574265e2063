"""What holds for every verb: help with an example, `--json`, and nothing in a pipe that only a terminal understands."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer

from tests.ops.test_folder import HEALTHY
from tests.unit.test_cli import GOOD, Shell
from waybill.cli.letters import REASONS
from waybill.cli.program import program
from waybill.message import DeadLetterRecord
from waybill.ops.folder import Folder


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if hasattr(command, "commands"):
        context = typer.Context(command)
        for name in command.list_commands(context):
            if name not in {"registry", "schema"}:  # which come from elsewhere
                yield from walk(command.get_command(context, name), (*path, name))
    else:
        yield path, command


VERBS = dict(walk(typer.main.get_command(program)))
NEEDED: dict[tuple[str, ...], list[str]] = {
    ("publish",): ["orders.placed", "--data", GOOD],
    ("backup",): ["COPY"],
    ("replay",): ["orders.placed"],
    ("seek",): ["orders.placed", "--since", "2h"],
    ("probe",): ["--live", "--status-dir", "STATUS", "--within", "600"],
    ("circuit", "list"): ["--status-dir", "STATUS"],
    ("circuit", "open"): ["bank", "--status-dir", "STATUS"],
    ("circuit", "close"): ["bank", "--status-dir", "STATUS"],
    ("circuit", "auto"): ["bank", "--status-dir", "STATUS"],
}
"""What a verb cannot do without."""
OF_A_LOG = {("replay",), ("seek",)}
"""The embedded broker refuses them."""
SPEAKING = [path for path in VERBS if path not in {("run",), ("exporter",)}]  # those serve: they log


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
    called = [path for path in SPEAKING if path[0] != "dlq"]  # those are called in tests/dlq
    Folder(shell.folder / "STATUS").write(msgspec.structs.replace(HEALTHY, written=time.time()))

    def call(path: tuple[str, ...], *more: str) -> subprocess.CompletedProcess[str]:
        needed = [{"COPY": f"copy{len(more)}.db"}.get(word, word) for word in NEEDED.get(path, [])]
        return shell.run(*path, *needed, *more)

    with ThreadPoolExecutor(4) as threads:
        plain = dict(zip(called, threads.map(call, called), strict=True))
        as_json = dict(zip(called, threads.map(lambda path: call(path, "--json"), called), strict=True))
    for path in called:
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
