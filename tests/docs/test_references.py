"""The pages that are made of the code say what it says."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.docs.test_documents import ROOT, blocks
from waybill.settings import Settings


def references(*arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "scripts" / "references"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_the_generated_pages_are_fresh() -> None:
    checked = references("--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_page_that_is_stale_or_missing_is_named_and_written(tmp_path: Path) -> None:
    """In a copy: the program writes beside itself."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "core" / "waybill").mkdir(parents=True)
    (tmp_path / "docs" / "conformance.json").write_text((ROOT / "docs" / "conformance.json").read_text())
    (tmp_path / "scripts" / "references").write_text((ROOT / "scripts" / "references").read_text())
    fresh = (ROOT / "docs" / "configuration.md").read_text()
    (tmp_path / "docs" / "configuration.md").write_text(fresh.replace("`lease`", "`leese`"))
    checked = references("--check", root=tmp_path)
    assert checked.returncode == 1
    *most, last = ["docs/configuration.md", "docs/command-line.md", "core/waybill/shown.json", "docs/capabilities.md"]
    assert checked.stdout == f"{', '.join(most)}, {last} stale: run `make docs`\n"
    assert references(root=tmp_path).returncode == 0
    assert (tmp_path / "docs" / "configuration.md").read_text() == fresh
    assert references("--check", root=tmp_path).returncode == 0


def test_the_example_of_a_file_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = blocks(ROOT / "docs" / "configuration.md", "toml")
    for name in [name for name in os.environ if name.startswith("WAYBILL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    Path("waybill.toml").write_text(text)
    assert {name: getattr(Settings(), name) for name in tomllib.loads(text)} == tomllib.loads(text)


def test_every_setting_says_what_it_means() -> None:
    rows = [line.strip("| ").split(" | ") for line in (ROOT / "docs" / "configuration.md").read_text().splitlines()]
    meanings = {cells[1]: cells[4:] for cells in rows if len(cells) > 1}
    assert [name for name in Settings.model_fields if not meanings[f"`WAYBILL_{name.upper()}`"]] == []
