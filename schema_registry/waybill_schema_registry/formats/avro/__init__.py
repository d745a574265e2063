"""Avro: parsing, texts, fingerprints, resolution."""
