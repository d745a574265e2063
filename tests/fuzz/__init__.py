"""Random bytes into what must bear any: the parser of schemas, and the bounded decoder."""
