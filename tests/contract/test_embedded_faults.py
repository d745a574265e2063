"""Every fault of the table, on the embedded broker."""

from __future__ import annotations

from waybill_contracts import faults
from waybill_contracts.embedded import File, Memory

test_on_a_file = faults(File())
test_in_memory = faults(Memory())
