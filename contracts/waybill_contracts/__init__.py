"""What "implements Waybill" means: every promise is a function that any adapter can be run through.

    # tests/test_contract.py of whoever wrote an adapter
    from waybill_contracts import contract, survives

    test_contract = contract(MyHarness())
    test_survives = survives(MyHarness())

A `Harness` says how a broker comes to a test. Each `Behaviour` is one promise, or one fault that must be survived, with its id.
What came of it is a row of the ledger: pass, partial, refused, waived, or not yet. See docs/contracts.md.
"""

from waybill_contracts.behaviour import BEHAVIOURS, NOT_YET, Behaviour, behaviour
from waybill_contracts.bench import Bench
from waybill_contracts.harness import Broker, Harness, Route
from waybill_contracts.ledger import Result, Row
from waybill_contracts.proving import contract, prove, survives

__all__ = [
    "BEHAVIOURS",
    "NOT_YET",
    "Behaviour",
    "Bench",
    "Broker",
    "Harness",
    "Result",
    "Route",
    "Row",
    "behaviour",
    "contract",
    "prove",
    "survives",
]
