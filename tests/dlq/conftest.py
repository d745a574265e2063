from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from waybill.dlq.index import Index


@pytest.fixture
def index(tmp_path: Path) -> Generator[Index, None, None]:
    with Index.open(tmp_path / "letters.db") as opened:
        yield opened
