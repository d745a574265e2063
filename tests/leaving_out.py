"""Tests that cannot be run here are left out, each with the reason and what would have it run; with CI=true they fail."""

from __future__ import annotations

import os
from typing import NoReturn


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"true", "1"}


def leave_out(reason: str) -> NoReturn:
    import pytest  # late: the benchmarks have none, and use the brokers of the tests

    if in_ci():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
