"""The rows of the table, a module a kind of fault. Importing this registers them."""

from waybill_contracts.faults.rows import brokers, connections, handlers, processes

__all__ = ["brokers", "connections", "handlers", "processes"]
