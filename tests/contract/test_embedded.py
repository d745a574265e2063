"""Every promise on the embedded broker."""

from __future__ import annotations

from tests.contract.harnesses import File, Memory
from waybill_contracts import contract

test_on_a_file = contract(File())
test_in_memory = contract(Memory())
