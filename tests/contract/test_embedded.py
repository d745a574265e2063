"""Every promise on the embedded broker."""

from __future__ import annotations

from waybill_contracts import contract
from waybill_contracts.embedded import File, Memory

test_on_a_file = contract(File())
test_in_memory = contract(Memory())
