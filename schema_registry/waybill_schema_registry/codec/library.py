"""What is used of fastavro, which does not say all of its types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import fastavro
from fastavro import read

__all__ = ["LOGICAL_READERS", "parse_schema", "schemaless_reader", "schemaless_writer"]

untyped: Any = fastavro
untyped_read: Any = read

parse_schema = cast("Callable[[Any, dict[str, Any]], Any]", untyped.parse_schema)
"""A schema as its reader and writer want it. The second gets each named type, by its full name."""
schemaless_reader = cast("Callable[..., Any]", untyped.schemaless_reader)
schemaless_writer = cast("Callable[..., None]", untyped.schemaless_writer)
LOGICAL_READERS = cast("Mapping[str, Callable[[Any, Any, Any], Any]]", untyped_read.LOGICAL_READERS)
"""By type and logical type, from what is written to the value."""
