"""A virtual host of its own for each test, on each version of RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.brokers.administration import Administration
from tests.brokers.running import Running
from waybill.loading import use_adapter
from waybill_rabbitmq import adapter

use_adapter("amqp", adapter)
use_adapter("amqps", adapter)


@pytest.fixture
def boss(each_rabbitmq: Running) -> Administration:
    if each_rabbitmq.provider == "url":
        pytest.skip("it is not ours to administer")
    return Administration(each_rabbitmq)


@pytest.fixture
def url(boss: Administration) -> Iterator[str]:
    with boss.vhost() as url:
        yield url
