"""Avro Java as an oracle: what it says of schemas, to compare ours with."""
