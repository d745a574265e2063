"""Counterexamples and the stricter rules."""
