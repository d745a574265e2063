"""The verbs `waybill registry …` and `waybill schema …`."""
