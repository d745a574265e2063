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
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

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
    raise pytest.UsageError("define a fixture `waybill_app` that returns your App, e.g. in conftest.py")


@async_fixture
async def waybill_bus(waybill_app: App) -> AsyncIterator[TestBus]:
    """`waybill_app`, running on the embedded broker in memory with a clock the test owns."""
    async with waybill_app.test() as bus:
        yield bus
