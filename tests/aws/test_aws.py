"""Every promise on AWS itself, with queues alone and with SNS before them, standard and FIFO."""

from __future__ import annotations

from tests.aws.account import Account
from waybill_contracts import contract

test_on_sqs = contract(Account("aws sqs standard", direct=True, fifo=False))
test_on_sqs_fifo = contract(Account("aws sqs fifo", direct=True, fifo=True))
test_on_sns = contract(Account("aws sns standard", direct=False, fifo=False))
test_on_sns_fifo = contract(Account("aws sns fifo", direct=False, fifo=True))
