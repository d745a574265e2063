"""What is wrong with settings is said in one way, wherever they are made; and where each of them has come from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from waybill import ConfigurationError, Settings
from waybill.settings import load, origins


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("WAYBILL_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_a_misspelt_setting_in_code_is_an_error_of_ours_with_a_hint() -> None:
    with pytest.raises(
        ConfigurationError, match=r"leese: there is no such setting\. Did you mean lease\?.*Known are: "
    ):
        Settings(leese=3)  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match=r"lease: Input should be greater than or equal to 0\.5"):
        Settings(lease=0)


def test_a_misspelt_setting_in_the_file_has_a_hint_too(tmp_path: Path) -> None:
    (tmp_path / "waybill.toml").write_text("publish_bufer = 1\n")
    with pytest.raises(ConfigurationError, match=r"Did you mean publish_buffer\?"):
        load()


def test_an_environment_that_cannot_be_read_is_not_blamed_on_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYBILL_BROKER", "{hunter2")
    with pytest.raises(ConfigurationError, match=r"environment cannot be read.*broker") as caught:
        load()
    assert "hunter2" not in str(caught.value)


def test_where_settings_have_come_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "waybill.toml").write_text('url = "memory://file"\nlease = 11\n[broker.embedded]\nsync = "normal"\n')
    monkeypatch.setenv("WAYBILL_URL", "memory://environment")
    monkeypatch.setenv("WAYBILL_DEV", "1")
    monkeypatch.setenv("WAYBILL_BROKER__OTHER__HOST", "x")
    assert origins(load(), {}) == {
        "url": "WAYBILL_URL", "dev": "WAYBILL_DEV", "lease": "waybill.toml",
        "broker.embedded.sync": "waybill.toml", "broker.other.host": "WAYBILL_BROKER__OTHER__HOST",
    }  # fmt: skip
    assert origins(load(url="memory://argument"), {"url": "--url", "app": "--app"})["url"] == "--url"
    made = Settings(url="memory://code", publish_buffer=5)
    found = origins(made, {})
    assert (found["url"], found["publish_buffer"], found["lease"]) == ("the code", "the code", "waybill.toml")
