"""From a URL to a store, and what is said of one that names none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from waybill import ConfigurationError
from waybill_schema_registry.errors import StoreError
from waybill_schema_registry.stores.opening import open_store
from waybill_schema_registry.stores.sqlite import SQLiteStore

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("registry.db", "sqlite:///registry.db"),
        ("", "names no store"),
        ("mysql://host/db", "postgresql://user@host/database"),
        ("sqlite:///:memory:", "use memory://"),
        ("sqlite://registry.db", "three slashes"),
        ("sqlite:///", "names no file"),
        ("sqlite:///a.db?mode=ro", "no options"),
        ("memory://name", "memory has no name"),
        (f"postgresql://user:{SECRET}@host:port/db", "cannot be read"),
        (f"postgresql://user:{SECRET}/more@host/db", "%2F"),
        (f"postgresql://user:{SECRET}#more@host/db", "%23"),
        (f"postgresql://user:{SECRET}?more@host/db", "%3F"),
        (f"postgresql://user:{SECRET}@[host/db", "names no store"),
        (f"postgresql://user:{SECRET}@host/db?schema=Robert'); --", "schema's name"),
        (f"sqlite://user:{SECRET}@host/a.db", "three slashes"),
        (f"mysql://user:{SECRET}/more@host/a.db", "names no store"),
        (f"postgresql://user:{SECRET}@one:5432,two:port/db", "cannot be read"),
        (f"user:{SECRET}@host", "names no store"),
    ],
)
def test_a_url_that_names_no_store_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_store(url)
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)


def test_without_asyncpg_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'waybill\[postgresql\]'"):
        open_store("postgresql://host/db")


async def test_a_file_is_relative_to_where_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///with%20blank.db")
    assert isinstance(store, SQLiteStore)
    monkeypatch.chdir("/")
    await store.open()
    await store.close()
    assert (tmp_path / "with blank.db").exists()


async def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'missing' / 'registry.db'}")
    with pytest.raises(StoreError, match=r"missing does not exist: create it"):
        await store.open()
    with pytest.raises(StoreError, match=r"is a folder"):
        await open_store(f"sqlite:///{tmp_path}").open()


@pytest.mark.parametrize(
    "hosts", ["host", "host:5432", "host:", "[::1]:5432", "one:1,two:2", "one,two", "", "db.example.com:5432"]
)
def test_postgresql_may_have_any_hosts(hosts: str) -> None:
    for user in ("", "user@", "user:%2F%40@"):
        open_store(f"postgresql://{user}{hosts}/db?sslmode=require&schema=ours")
