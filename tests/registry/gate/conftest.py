"""An empty folder to work in, and no setting from outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from waybill_schema_registry import SyncRegistry


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("WAYBILL_", "GIT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def registry(here: Path) -> str:
    """The URL of one that is empty."""
    with SyncRegistry("sqlite:///registry.db") as opened:
        opened.get_mode()
    return "sqlite:///registry.db"
