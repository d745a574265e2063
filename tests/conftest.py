"""Any test can have a real broker: the fixtures are in tests/brokers/plugin.py."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # how long an example takes says how busy the machine is


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell leaves it behind `make test &`: the programs under test would ignore it as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("tests.brokers.plugin")
