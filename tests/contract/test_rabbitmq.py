"""Every promise on RabbitMQ."""

from __future__ import annotations

import pytest

from tests.contract.rabbitmq import Rabbit
from waybill_contracts import contract

test_on_4_0 = pytest.mark.broker("rabbitmq")(contract(Rabbit("rabbitmq 4.0", "rabbitmq")))
test_on_4_3 = pytest.mark.broker("rabbitmq43")(contract(Rabbit("rabbitmq 4.3", "rabbitmq43")))
