"""Faults to survive."""
