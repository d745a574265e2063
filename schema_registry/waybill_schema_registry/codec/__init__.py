"""The codec for topics: Avro bodies with the id of their schema before them."""
