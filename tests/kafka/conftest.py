"""A user and a prefix of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.brokers.owning import ours
from tests.brokers.running import Running
from tests.contract.kafka_verbs import Verbs
from waybill.loading import use_adapter
from waybill_contracts.bench import Bench
from waybill_kafka import adapter

use_adapter("kafka", adapter)
use_adapter("kafka+ssl", adapter)


@pytest.fixture
async def verbs(kafka: Running) -> AsyncGenerator[Verbs, None]:
    async with Verbs(ours(kafka)) as verbs:
        yield verbs


@pytest.fixture
async def bench(tmp_path: Path, kafka: Running) -> AsyncGenerator[Bench, None]:
    """What the promises are shown on."""
    from tests.contract.kafka import Kafka

    del kafka  # it runs
    async with Kafka().broker(tmp_path) as broker:
        with Bench(broker, tmp_path) as bench:
            yield bench
