"""The adapter under both schemes, and a virtual host of its own for each test, on each version of RabbitMQ."""

from __future__ import annotations

import pytest

from waybill.loading import use_adapter
from waybill_rabbitmq import adapter

use_adapter("amqp", adapter)
use_adapter("amqps", adapter)


@pytest.fixture
def url(vhost: str) -> str:
    return vhost
