"""A fixture for pytest: `waybill_bus` runs the application that the test's own `waybill_app` fixture gives.

    from waybill.testing import TestBus

    @pytest.fixture
    def waybill_app() -> App:
        return app

    async def test_an_order_is_invoiced(waybill_bus: TestBus) -> None:
        await waybill_bus.publish(orders, OrderPlaced("o1", "c1"))
        await waybill_bus.drain()
        assert waybill_bus.published(invoices) == [Invoice("o1")]

Needs pytest-asyncio with `asyncio_mode = "auto"` (or anyio's plugin) for the asynchronous fixture and test.

Where a test fails that ran an application with `app.test()`, by the fixture or without it, the report tells what
happened on its bus: `TestBus.explain`.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from waybill.app import App
    from waybill.testing import TestBus

try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:  # anyio's plugin runs a plain asynchronous fixture by itself
    async_fixture = pytest.fixture  # type: ignore[assignment]

__all__ = ["waybill_app", "waybill_bus"]


@pytest.fixture
def waybill_app() -> App:
    """The application under test: override this fixture in your conftest."""
    pytest.fail("define a fixture `waybill_app` that returns your App, e.g. in conftest.py", pytrace=False)


@async_fixture
async def waybill_bus(waybill_app: App) -> AsyncIterator[TestBus]:
    """`waybill_app`, running on the embedded broker in memory with a clock the test owns."""
    async with waybill_app.test() as bus:
        yield bus


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    if (testing := _testing()) is not None:
        for bus in [bus for bus in testing.opened if bus.closed]:
            testing.opened.discard(bus)  # an earlier test's, which somebody still holds


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    testing = _testing()
    if testing is None or call.excinfo is None or not report.failed:
        return report
    if not isinstance(call.excinfo.value, testing.BusError):  # its text ends with the story
        report.sections += [(f"what happened on the bus of {bus.name!r}", bus.explain()) for bus in testing.opened]
    return report


def _testing() -> Any:
    """The module of test buses, if this session has loaded it: the plugin must not slow down those that do not."""
    return sys.modules.get("waybill.testing.bus")
