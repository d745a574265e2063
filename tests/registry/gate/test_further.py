"""Verbs that other packages bring to `waybill`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOP = """
import typer
group = typer.Typer(help="Verbs of a shop.")

@group.callback()
def shop() -> None: ...

@group.command("open")
def open_shop() -> None:
    print("open")
"""


def waybill(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """With a package `shop` that brings verbs, installed in the folder."""
    info = folder / "shop-1.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1\n")
    points = "shop = shop_verbs:group\nbroken = shop_broken:group\nrun = shop_verbs:group\n"
    (info / "entry_points.txt").write_text(f"[waybill.commands]\n{points}")
    (folder / "shop_verbs.py").write_text(SHOP)
    (folder / "shop_broken.py").write_text("import nowhere_to_be_found\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(folder)]), "COLUMNS": "200"}
    program = "import sys; from waybill.cli import main; sys.argv[0] = 'waybill'; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_they_are_listed_and_called(tmp_path: Path) -> None:
    listed = waybill(tmp_path, "--help").stdout
    assert "Verbs of a shop." in listed
    assert "(cannot be loaded) Install it anew" in listed
    assert waybill(tmp_path, "shop", "open").stdout == "open\n"


def test_ours_cannot_be_replaced(tmp_path: Path) -> None:
    assert "Consume until SIGTERM" in waybill(tmp_path, "run", "--help").stdout


@pytest.mark.parametrize("arguments", [[], ["--anything"], ["--help"]])
def test_one_that_lacks_something_says_what(tmp_path: Path, arguments: list[str]) -> None:
    done = waybill(tmp_path, "broken", *arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "error: waybill broken cannot be loaded, it lacks something: No module"
    )


def test_one_that_is_mistyped_is_guessed(tmp_path: Path) -> None:
    done = waybill(tmp_path, "shopp")
    assert (done.returncode, "Did you mean 'shop'" in done.stderr) == (2, True)


def test_other_verbs_do_not_load_them(tmp_path: Path) -> None:
    program = """
import sys
from waybill.cli.program import program
try:
    program(["explain", "--help"])
except SystemExit:
    pass
assert not [name for name in sys.modules if name.startswith("waybill_schema_registry")]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
