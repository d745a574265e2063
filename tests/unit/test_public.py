"""The public surface: complete, sorted, light to import, and free of brokers."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

import waybill
from waybill import errors

MODULES = sorted(
    module.name for module in pkgutil.iter_modules(waybill.__path__, "waybill.") if "cli" not in module.name
)
CLIENTS = {"aio_pika", "aiormq", "aiokafka", "aioboto3", "boto3", "botocore", "waybill_embedded", "sqlite3"}


def test_the_public_names_are_sorted_and_each_is_there() -> None:
    assert waybill.__all__ == sorted(waybill.__all__)
    assert len(set(waybill.__all__)) == len(waybill.__all__)
    for name in waybill.__all__:
        assert getattr(waybill, name) is not None


def test_every_public_name_of_the_package_is_listed() -> None:
    listed = set(waybill.__all__)
    bound = {
        name
        for name, value in vars(waybill).items()
        if not name.startswith("_")
        and not isinstance(value, types.ModuleType)
        and name not in {"annotations", "TYPE_CHECKING", "Any"}
    }
    assert bound <= listed


def test_every_error_a_user_can_meet_is_public() -> None:
    assert set(errors.__all__) - set(waybill.__all__) == {"Outcome"}
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), waybill.WaybillError)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Setings"):
        _ = waybill.Setings  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_lists_what_it_offers_and_nothing_that_is_not_there(name: str) -> None:
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):
        assert hasattr(module, public)
    if name != "waybill.__main__":
        assert hasattr(module, "__all__"), f"{name} has no __all__"


def test_importing_waybill_imports_no_broker_client_and_nothing_slow() -> None:
    code = "import sys; before = set(sys.modules); import waybill; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & CLIENTS
    assert not loaded & {"pydantic", "pydantic_settings", "typer", "rich", "pytest"}


def test_the_core_names_no_broker_client_in_its_imports() -> None:
    for file in Path(waybill.__path__[0]).rglob("*.py"):
        if file.parent.name in {"sqlitefile", "dlq"}:  # the one is for adapters, the registry and the other
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names.append(node.module)
            assert not {name.partition(".")[0] for name in names} & CLIENTS, file
            assert not any(name.startswith("waybill.sqlitefile") for name in names), file


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(waybill.__path__[0]) / "py.typed").exists()
