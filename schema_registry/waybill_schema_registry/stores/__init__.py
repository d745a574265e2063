"""Stores of the registry: memory, SQLite, PostgreSQL."""
