"""For whoever keeps things in a file of SQLite: its form, its errors as ours, and what may happen to it from outside."""

__all__: list[str] = []
