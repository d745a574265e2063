"""The promises of a registry's store, and what shows them. Users import `waybill_contracts.registry_store`."""
