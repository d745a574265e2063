"""AWS itself: asked for by `make test-aws REGION=…` alone, so that no other run costs anybody anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.aws.account import why_not

FOLDER = Path(__file__).parent
collect_ignore_glob = [] if "TEST_AWS" in os.environ else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if (reason := why_not()) is not None:
        for item in (item for item in items if FOLDER in item.path.parents):
            item.add_marker(pytest.mark.skip(reason=reason))
