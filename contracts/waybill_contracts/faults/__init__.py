"""Faults to survive, for any broker.

    test_survives = waybill_contracts.survives(MyHarness())

`rows` has a function for each; `range` is where it is made: who publishes and consumes there (`load`), through a `proxy`, and
what their journals come to (`checking`). See docs/contracts.md.
"""
