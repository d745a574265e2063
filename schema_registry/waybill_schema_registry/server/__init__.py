"""The engine over HTTP: the REST API of Confluent."""
