"""Python types to Avro, and Avro to Python types."""
