"""What a store of the schema registry promises: each promise is a function that any store can be run through.

    # tests/test_store.py of whoever wrote a store
    from waybill_contracts.registry_store import store_contract

    test_store = store_contract(MyHarness())

A `StoreHarness` says where a store lies in a test. The rows are of the same ledger as those of brokers.
"""

from waybill_contracts.registry.harness import Place, StoreHarness
from waybill_contracts.registry.promise import PROMISES, Promise
from waybill_contracts.registry.proving import prove, store_contract

__all__ = ["PROMISES", "Place", "Promise", "StoreHarness", "prove", "store_contract"]
