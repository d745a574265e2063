"""Every promise on RabbitMQ, and every fault of the table."""

from __future__ import annotations

import pytest

from tests.contract.rabbitmq import Rabbit
from waybill_contracts import contract, survives

V4_0, V4_3 = Rabbit("rabbitmq 4.0", "rabbitmq"), Rabbit("rabbitmq 4.3", "rabbitmq43")
ALONE = pytest.mark.disturbs

test_on_4_0 = pytest.mark.broker("rabbitmq")(contract(V4_0, disturbing=ALONE))
test_on_4_3 = pytest.mark.broker("rabbitmq43")(contract(V4_3, disturbing=ALONE))
test_faults_on_4_0 = pytest.mark.broker("rabbitmq")(survives(V4_0, disturbing=ALONE))
test_faults_on_4_3 = pytest.mark.broker("rabbitmq43")(survives(V4_3, disturbing=ALONE))
