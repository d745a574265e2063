"""Every promise on Kafka, and every fault of the table."""

from __future__ import annotations

import pytest

from tests.contract.kafka import Kafka
from waybill_contracts import contract, survives

KAFKA = Kafka()
ALONE = pytest.mark.disturbs

test_on_kafka = pytest.mark.broker("kafka")(contract(KAFKA, disturbing=ALONE))
test_faults_on_kafka = pytest.mark.broker("kafka")(survives(KAFKA, disturbing=ALONE))
