"""Every promise on Kafka."""

from __future__ import annotations

import pytest

from tests.contract.kafka import Kafka
from waybill_contracts import contract

test_on_4_3 = pytest.mark.broker("kafka")(contract(Kafka()))
