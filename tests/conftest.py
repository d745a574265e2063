"""Any test can have a real broker: the fixtures are in tests/brokers/plugin.py."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("tests.brokers.plugin")
