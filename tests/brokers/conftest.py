"""The fixtures `rabbitmq`, `kafka`, `sqs` and `sns`. They stand in plugin.py, so that another folder's conftest.py can have them too."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("tests.brokers.plugin")
