"""The formats of schemas. Avro is the one there is; `format.Format` is what another one would implement."""
