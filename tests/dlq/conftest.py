from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.dlq.console import Console, console
from waybill.dlq.index import Index


@pytest.fixture
def index(tmp_path: Path) -> Generator[Index, None, None]:
    with Index.open(tmp_path / "letters.db") as opened:
        yield opened


@pytest.fixture
def waybill(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    with console(tmp_path, capsys, monkeypatch) as made:
        yield made
