"""SIGKILL at each step of a redrive of 1,000 letters: none is lost, what comes twice is told of, and it goes on.

On the real brokers with `make soak`; the kit's promise D09 does it with fewer in every run.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.kafka import Kafka
from tests.contract.rabbitmq import Rabbit
from tests.contract.sqs import QUEUE
from waybill_contracts.bench import Bench
from waybill_contracts.dying import STEPS, killed_redrive
from waybill_contracts.embedded import File
from waybill_contracts.harness import Harness

LETTERS = 1000

REAL = [
    pytest.param(Rabbit("rabbitmq 4.3", "rabbitmq43"), marks=pytest.mark.broker("rabbitmq43"), id="rabbitmq"),
    pytest.param(Kafka(), marks=pytest.mark.broker("kafka"), id="kafka"),
    pytest.param(QUEUE, marks=pytest.mark.broker("sqs"), id="sqs"),
]


async def test_killed_at_each_step_it_loses_nothing_and_goes_on(tmp_path: Path) -> None:
    await _killed(File(), tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("harness", REAL)
async def test_on_a_real_broker(harness: Harness, tmp_path: Path) -> None:
    await _killed(harness, tmp_path)


async def _killed(harness: Harness, folder: Path) -> None:
    async with harness.broker(folder) as broker:
        with Bench(broker, folder, patience=120.0) as bench:
            await killed_redrive(bench, letters=LETTERS, steps=STEPS)
