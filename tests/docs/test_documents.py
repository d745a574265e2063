"""Every code block of the documents runs, and every path they name exists."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md"), *ROOT.glob("benchmarks/*.md")]
)
WAYBILL = Path(sys.executable).with_name("waybill")


def blocks(page: Path, language: str) -> list[str]:
    """The page's code blocks of one language, without their fences."""
    found: list[str] = []
    inside: str | None = None
    for line in page.read_text().splitlines(keepends=True):
        if not line.startswith("```"):
            if inside == language:
                found[-1] += line
        elif inside is None:
            inside = line[3:].strip()
            if inside == language:
                found.append("")
        else:
            inside = None
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_run(page: Path) -> None:
    """The blocks of a page in order, in one module; functions that begin with `test_` are run as well."""
    module = types.ModuleType("document")
    sys.modules["document"] = module  # dataclasses and type hints look their module up by name
    try:
        for block in blocks(page, "python"):
            sys.modules.setdefault("service", module)  # what the page calls service.py is its first block
            before = set(vars(module))
            exec(compile(block, str(page), "exec"), vars(module))
            for name in set(vars(module)) - before:
                if name.startswith("test_"):
                    result = vars(module)[name]()
                    if inspect.iscoroutine(result):
                        asyncio.run(result)
    finally:
        sys.modules.pop("service", None)
        del sys.modules["document"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_the_commands_of_the_readme_do_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(blocks(ROOT / "README.md", "python")[0])
    lines = [
        line for block in blocks(ROOT / "README.md", "") for line in block.splitlines() if line.startswith("waybill ")
    ]
    run, publish, backlog, dead = [[str(WAYBILL), *shlex.split(line)[1:]] for line in lines]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYBILL_")}

    def call(command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    with (tmp_path / "log").open("wb") as log:
        service = subprocess.Popen(run, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        call([*publish[:-1], '{"order_id": "o2", "customer_id": "c1", "cents": 1200}'])
        call(publish)
        end = time.monotonic() + 20
        while (row := json.loads(call([*backlog, "--json"]))[0])["ready"] or row["in_flight"] or not row["dead"]:
            assert time.monotonic() < end, (row, (tmp_path / "log").read_text())
        assert "nothing to charge" in call(dead)
    finally:
        service.send_signal(signal.SIGTERM)
        assert service.wait(30) == 0, (tmp_path / "log").read_text()


def test_every_file_the_map_names_exists() -> None:
    """ARCHITECTURE.md's map of the files."""
    folder = Path()
    for line in blocks(ROOT / "ARCHITECTURE.md", "")[0].splitlines():
        names = re.match(r"(\s*)((?:[\w./]+ {1,2})*[\w./]+)", line)
        assert names, line
        for name in names[2].split(" "):
            if not re.fullmatch(r"[\w./]+", name) or ("." not in name and "/" not in name):
                continue
            if not names[1]:
                folder = ROOT / name
                assert folder.exists(), line
            else:
                assert (folder / name).exists(), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_is_promised_that_nobody_can_keep(page: Path) -> None:
    assert not re.search(r"exactly[\s-]once", page.read_text(), re.IGNORECASE)
