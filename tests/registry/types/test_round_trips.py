"""Schema to source to schema; value to bytes to value."""

from __future__ import annotations

import io
import random
from typing import Any

import fastavro

from tests.registry.types.modules import module_of
from tests.registry.types.schemas import Schemas, datum
from waybill_schema_registry.formats.avro.parsing import parse
from waybill_schema_registry.types import READING, avro_type, generate


def root_of(schema: Any, module: Any) -> Any:
    """What was generated for a schema itself."""
    if isinstance(schema, dict) and schema["type"] in ("record", "enum", "fixed"):
        return next(
            found
            for name in module.__all__
            if (found := getattr(module, name)) is not None
            and text_of(avro_type(found).schema, name_only=True) == full(schema)
        )
    return module.Payload


def full(schema: Any) -> str:
    space, name = schema.get("namespace", ""), schema["name"]
    return f"{space}.{name}" if space else name


def text_of(schema: Any, *, name_only: bool = False) -> str:
    if name_only:
        return full(schema) if isinstance(schema, dict) and "name" in schema else ""
    return parse(schema).text


def written(schema: Any, value: Any) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema, value)
    return stream.getvalue()


def read(schema: Any, body: bytes) -> Any:
    return fastavro.schemaless_reader(io.BytesIO(body), schema, None, **READING)


def test_a_schema_comes_back_from_its_source() -> None:
    failures: list[tuple[int, str]] = []
    for seed in range(250):
        schema = Schemas(seed).record()
        source = generate(schema)
        try:
            with module_of(source) as module:
                back = text_of(avro_type(root_of(schema, module)).schema)
        except Exception as error:  # noqa: BLE001 - all of them are shown
            back = repr(error)
        if back != text_of(schema):
            failures.append((seed, f"{text_of(schema)}\n{back}\n{source}"))
    assert not failures, f"{len(failures)}: {failures[0][0]}\n{failures[0][1]}"


def test_a_value_comes_back_from_its_bytes() -> None:
    failures: list[tuple[int, str]] = []
    for seed in range(150):
        schemas = Schemas(seed)
        schema = schemas.record()
        with module_of(generate(schema)) as module:
            mapped = avro_type(root_of(schema, module))
            parsed = fastavro.parse_schema(mapped.schema)
            chance = random.Random(seed)
            for _ in range(5):
                given = datum(schema, schemas.defined, chance)
                try:
                    value = mapped.from_datum(read(parsed, written(parsed, given)))
                    back = mapped.from_datum(read(parsed, written(parsed, mapped.to_datum(value))))
                except Exception as error:  # noqa: BLE001 - all of them are shown
                    value, back = None, error
                if back != value:
                    failures.append((seed, f"{text_of(schema)}\n{given!r}\n{value!r}\n{back!r}"))
    assert not failures, f"{len(failures)}: {failures[0][0]}\n{failures[0][1]}"
