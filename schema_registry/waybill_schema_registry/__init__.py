"""The schema registry of Waybill: a library, an HTTP server and a gate, one engine behind all of them."""
