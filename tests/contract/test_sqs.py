"""Every promise on SQS and SNS, and every fault of the table: on emulators, which the ledger says."""

from __future__ import annotations

import pytest

from tests.contract.sqs import QUEUE, QUEUE_FIFO, TOPIC, TOPIC_FIFO
from waybill_contracts import contract, survives

ALONE = pytest.mark.disturbs

test_on_sqs = pytest.mark.broker("sqs")(contract(QUEUE, disturbing=ALONE))
test_on_sqs_fifo = pytest.mark.broker("sqs")(contract(QUEUE_FIFO, disturbing=ALONE))
test_on_sns = pytest.mark.broker("sns")(contract(TOPIC, disturbing=ALONE))
test_on_sns_fifo = pytest.mark.broker("sns")(contract(TOPIC_FIFO, disturbing=ALONE))
test_faults_on_sqs = pytest.mark.broker("sqs")(survives(QUEUE, disturbing=ALONE))
test_faults_on_sqs_fifo = pytest.mark.broker("sqs")(survives(QUEUE_FIFO, disturbing=ALONE))
test_faults_on_sns = pytest.mark.broker("sns")(survives(TOPIC, disturbing=ALONE))
test_faults_on_sns_fifo = pytest.mark.broker("sns")(survives(TOPIC_FIFO, disturbing=ALONE))
