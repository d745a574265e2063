"""Every fault of the table, on the embedded broker."""

from __future__ import annotations

from waybill_contracts import survives
from waybill_contracts.embedded import File, Memory

test_on_a_file = survives(File())
test_in_memory = survives(Memory())
