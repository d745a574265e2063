"""Schemas as the source of models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.registry.types.modules import module_of
from tests.registry.types.payloads import Everything, Node, Order, Payment, Tree
from tests.registry.types.schemas import TEXTS, Schemas
from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.types import avro_schema, generate

ORDER = {
    "type": "record",
    "name": "OrderPlaced",
    "namespace": "shop",
    "doc": "A customer has ordered.",
    "aliases": ["PlacedOrder"],
    "fields": [
        {"name": "order_id", "type": {"type": "string", "logicalType": "uuid"}, "doc": "Of the shop."},
        {"name": "class", "type": "int", "aliases": ["kind"]},
        {
            "name": "status",
            "type": {"type": "enum", "name": "status", "symbols": ["OPEN", "title"], "default": "OPEN"},
            "default": "OPEN",
        },
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "before", "type": ["null", "OrderPlaced"]},
        {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 1000},
        {"name": "md5", "type": {"type": "fixed", "name": "Md5", "size": 16}},
    ],
}

SOURCE = '''\
from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, TypeAlias
from uuid import UUID

from pydantic import AliasChoices, AwareDatetime, BaseModel, Field
from waybill_schema_registry.types import Aliases, Fixed, Int32, Millis, Named

__all__ = ["Md5", "OrderPlaced", "Status"]


@Named("status", namespace="shop", default_symbol="OPEN")
class Status(StrEnum):
    OPEN = "OPEN"
    title_ = "title"


Md5: TypeAlias = Annotated[bytes, Fixed(16), Named("Md5", namespace="shop")]


@Named(namespace="shop", aliases=["PlacedOrder"])
class OrderPlaced(BaseModel):
    """A customer has ordered."""

    order_id: UUID = Field(description="Of the shop.")
    class_: Annotated[Int32, Aliases("kind")] = Field(
        serialization_alias="class", validation_alias=AliasChoices("class", "class_")
    )
    status: Status = Status.OPEN
    total: Annotated[Decimal, Field(max_digits=9, decimal_places=2)]
    note: str | None = None
    before: None | OrderPlaced
    tags: list[str] = []
    at: Annotated[AwareDatetime, Millis()] = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    md5: Md5
'''


def test_the_source_reads_as_if_somebody_had_written_it() -> None:
    assert generate(ORDER) == SOURCE


def test_the_models_are_used_by_the_names_they_have_in_python() -> None:
    with module_of(generate(ORDER)) as module:
        order = module.OrderPlaced(order_id="0" * 32, class_=1, total="1.50", before=None, md5=b"0" * 16)
        assert order.status is module.Status.OPEN
        assert order.model_dump(by_alias=True)["class"] == 1
        with pytest.raises(ValidationError):
            module.OrderPlaced(order_id="0" * 32, class_=1, total="1.505", before=None, md5=b"0" * 16)


def test_texts_cannot_leave_their_place() -> None:
    """Whatever docs, aliases and defaults hold is a literal: nothing of it is run, and it comes back as it was."""
    fields = [
        {"name": f"f{number}", "type": "string", "doc": text, "default": text, "aliases": ["a"]}
        for number, text in enumerate(TEXTS)
    ]
    for number, text in enumerate(TEXTS):
        schema: dict[str, Any] = {"type": "record", "name": "Named", "doc": text, "fields": fields}
        with module_of(generate(schema)) as module:
            again = avro_schema(module.Named2)
            assert again.get("doc", "") == text, number
            for field, wanted in zip(again["fields"], TEXTS, strict=True):
                assert (field.get("doc", ""), field["default"]) == (wanted, wanted)


def test_names_that_could_be_code_are_refused() -> None:
    for name in ("a b", "a;import os", "a\n", "", "x: int = __import__('os')", "größe"):
        for schema in (
            {"type": "record", "name": name, "fields": []},
            {"type": "record", "name": "R", "fields": [{"name": name, "type": "int"}]},
            {"type": "enum", "name": "E", "symbols": [name]},
            {"type": "fixed", "name": "F", "namespace": name or "!", "size": 1},
        ):
            with pytest.raises(InvalidSchema):
                generate(schema)
    with pytest.raises(InvalidSchema, match="no name in Python"):
        generate(["int", "string"], name="a b")


def test_short_names_in_several_namespaces() -> None:
    def order(namespace: str) -> Any:
        return {"type": "record", "name": "Order", "namespace": namespace, "fields": []}

    source = generate([order("eu"), order("shop.us")])
    with module_of(source) as module:
        assert module.__all__ == ["EuOrder", "Payload", "UsOrder"]
        assert avro_schema(module.Payload) == [order("eu"), order("shop.us")]


def test_several_schemas_share_their_types() -> None:
    line = {"type": "record", "name": "Line", "fields": []}
    source = generate(line, {"type": "record", "name": "Order", "fields": [{"name": "a", "type": "Line"}]})
    assert source.count("class Line(") == 1
    assert "    a: Line\n" in source
    with pytest.raises(InvalidSchema, match="Two of the schemas define Line"):
        generate(line, {"type": "record", "name": "Line", "fields": [{"name": "a", "type": "int"}]})


def test_a_default_that_python_would_not_write_the_same() -> None:
    """A date after the year 9999, a record with less than all its fields, a branch that is not the first."""
    inner = {"type": "record", "name": "I", "fields": [{"name": "x", "type": "int", "default": 1}]}
    fields = [
        {"name": "a", "type": {"type": "int", "logicalType": "date"}, "default": 2**31 - 1},
        {"name": "b", "type": inner, "default": {}},
        {"name": "c", "type": ["string", "null"], "default": None},
    ]
    schema = {"type": "record", "name": "R", "fields": fields}
    with module_of(generate(schema)) as module:
        assert avro_schema(module.R) == schema


def test_what_is_no_schema_is_refused() -> None:
    for schema in ({"type": "recrod"}, "nothing", {"type": "record", "name": "R"}, [], 5, None):
        with pytest.raises(InvalidSchema):
            generate(schema)


def test_what_is_nested_too_deep_is_refused() -> None:
    schema: Any = "string"
    for _ in range(3000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(InvalidSchema):
        generate(schema)
    deep: Any = "string"
    for _ in range(250):
        deep = {"type": "array", "items": deep}
    with pytest.raises(InvalidSchema, match="nested too deep"):
        generate(deep)


def test_many_types_are_written_in_time() -> None:
    """Ten thousand fields, and two hundred types that each have the one before."""
    wide = {
        "type": "record",
        "name": "Wide",
        "fields": [{"name": f"f{n}", "type": "int", "default": 0} for n in range(10_000)],
    }
    assert generate(wide).count("\n    f") == 10_000
    chain: Any = {"type": "record", "name": "R0", "fields": []}
    for number in range(1, 200):
        chain = {"type": "record", "name": f"R{number}", "fields": [{"name": "f", "type": chain}]}
    assert generate(chain).count("class R") == 200


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    schemas = [ORDER, *map(avro_schema, (Order, Payment, Tree, Node[int], Everything))]
    schemas += [Schemas(seed).record() for seed in range(8)]
    for number, schema in enumerate(schemas):
        (folder / f"models_{number}.py").write_text(generate(schema))
    return folder


def test_the_source_is_clean_for_ruff(sources: Path) -> None:
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--target-version", "py311"]
    selected = ["--select", "F,E,W,UP,B,S,RUF", "--ignore", "E501,E741,S105,UP040,RUF036", str(sources)]
    done = subprocess.run([*command, *selected], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_source_passes_pyright_strict(sources: Path) -> None:
    roots = [str(Path(found).resolve()) for found in sys.path if (Path(found) / "waybill_schema_registry").is_dir()]
    (sources / "pyrightconfig.json").write_text(
        f'{{"typeCheckingMode": "strict", "pythonVersion": "3.11", "extraPaths": ["{roots[0]}"]}}'
    )
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", str(sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
