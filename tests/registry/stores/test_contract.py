"""Every promise of a store, on each that we have."""

from __future__ import annotations

import pytest

from tests.registry.stores.postgres import Ours
from waybill_contracts.registry.harness import InAFile, InMemory
from waybill_contracts.registry_store import store_contract

test_in_memory = store_contract(InMemory())
test_in_a_file = store_contract(InAFile())
test_in_postgresql = pytest.mark.broker("postgres")(store_contract(Ours()))
