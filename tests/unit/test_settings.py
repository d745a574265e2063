"""Where settings come from, which one counts, and what is never printed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from waybill import ConfigurationError, Settings
from waybill.settings import DEFAULT_URL, broker_url, load, safe_url


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("WAYBILL_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_arguments_count_more_than_the_environment_and_that_more_than_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "waybill.toml").write_text('url = "memory://file"\nlease = 11\npublish_buffer = 12\n')
    monkeypatch.setenv("WAYBILL_URL", "memory://environment")
    monkeypatch.setenv("WAYBILL_LEASE", "21")
    settings = load(url="memory://argument")
    assert (settings.url, settings.lease, settings.publish_buffer) == ("memory://argument", 21.0, 12)


def test_a_brokers_own_options_come_from_its_table_or_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "waybill.toml").write_text('[broker.embedded]\nsync = "normal"\n')
    assert load().broker == {"embedded": {"sync": "normal"}}
    monkeypatch.setenv("WAYBILL_BROKER__EMBEDDED__SYNC", "full")
    assert load().broker["embedded"]["sync"] == "full"


def test_an_unknown_setting_is_an_error_wherever_it_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="urll"):
        load(urll="x")
    monkeypatch.setenv("WAYBILL_URLL", "x")
    with pytest.raises(ConfigurationError, match=r"WAYBILL_URLL.*Known are"):
        load()
    monkeypatch.delenv("WAYBILL_URLL")
    (tmp_path / "waybill.toml").write_text("nonsense = 1\n")
    with pytest.raises(ConfigurationError, match="nonsense"):
        load()


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "waybill.toml").write_text("url = \n")
    with pytest.raises(ConfigurationError, match=r"waybill\.toml"):
        load()


@pytest.mark.parametrize(
    "wrong",
    [{"publish_deadline": 0}, {"publish_deadline": -1}, {"publish_buffer": 0}, {"lease": 0.1}, {"topology": "maybe"},
     {"shutdown_grace": -1}, {"publish_deadline": "soon"}, {"lease": float("nan")}, {"lease": float("inf")}],
)  # fmt: skip
def test_a_value_that_cannot_be_names_its_setting(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        load(**wrong)


def test_a_wrong_value_is_not_repeated_since_it_may_be_a_secret() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(url=["amqp://user:hunter2@host"], lease="hunter2")
    assert "hunter2" not in str(caught.value)


def test_without_a_url_a_person_gets_a_file_and_a_service_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    with pytest.raises(ConfigurationError, match=r"WAYBILL_URL.*--dev"):
        broker_url(load())
    assert broker_url(load(dev=True)) == DEFAULT_URL
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert broker_url(load()) == DEFAULT_URL


def test_a_password_is_never_shown() -> None:
    url = "amqps://user:hunter2@broker:5671/v?x=1"
    settings = Settings(url=url, broker={"rabbitmq": {"password": "hunter2"}})
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings)
    assert safe_url(url) == "amqps://user:***@broker:5671/v?x=1"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"), ("sqlite:///a.db?sync=normal", "sqlite:///a.db?sync=normal"),
        ("amqp://user@host", "amqp://user@host"), ("amqp://user:a@b@host/", "amqp://user:***@host/"),
        ("amqp://:secret@host", "amqp://:***@host"), ("kafka://u:s%40t@h1:1,h2:2", "kafka://u:***@h1:1,h2:2"),
        ("amqp://user:@host", "amqp://user:***@host"),
    ],
)  # fmt: skip
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert safe_url(url) == shown


@pytest.mark.parametrize("url", ["kafka://h?sasl_password=hunter2", "amqp://user:hunter2@[bad"])
def test_a_password_in_an_odd_place_is_not_shown_either(url: str) -> None:
    assert "hunter2" not in safe_url(url)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().url = "memory://"


@pytest.mark.parametrize("text", ["X-Customer,x-tenant", " x-customer , x-tenant,", '["X-Customer", "x-tenant"]'])
def test_names_are_given_with_commas_or_as_json(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("WAYBILL_REDACT", text)
    assert load().redact == ("x-customer", "x-tenant")


def test_names_that_are_neither_say_how_to_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYBILL_REDACT", '["x-customer"')
    with pytest.raises(ConfigurationError, match=r"redact: .*with commas between them"):
        load()


def test_no_names_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYBILL_REDACT", "")
    assert load().redact == ()
