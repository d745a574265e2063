"""Waybill beside a hand-written loop and beside its peers, in one run: `python -m benchmarks`."""
