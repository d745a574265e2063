"""URLs of registries: several servers, credentials with odd characters, and secrets that are never shown."""

from __future__ import annotations

import pytest

from waybill.errors import ConfigurationError
from waybill_schema_registry import Access, Registry, SyncRegistry
from waybill_schema_registry.client.addresses import addresses, safe


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://host:8081", [("http://host:8081", None, None)]),
        ("http://host:8081/", [("http://host:8081", None, None)]),
        ("HTTPS://host/apis/ccompat/v7/", [("https://host/apis/ccompat/v7", None, None)]),
        ("http://[::1]:8081", [("http://[::1]:8081", None, None)]),
        ("http://u:p@host:8081", [("http://host:8081", "u", "p")]),
        ("http://u:p%40s%2Fs@host", [("http://host", "u", "p@s/s")]),
        ("http://u:p/a@ss:w,o?r#d@host:8081", [("http://host:8081", "u", "p/a@ss:w,o?r#d")]),
        ("http://u@host", [("http://host", "u", None)]),
        ("http://u:p@a:1,b:2", [("http://a:1", "u", "p"), ("http://b:2", "u", "p")]),
        ("http://a:1,https://u:p@b:2", [("http://a:1", None, None), ("https://b:2", "u", "p")]),
        (" http://a:1, http://b:2 ", [("http://a:1", None, None), ("http://b:2", None, None)]),
    ],
)
def test_a_url_is_taken_apart(url: str, found: list[tuple[str, str | None, str | None]]) -> None:
    assert [(one.base, one.user, one.password) for one in addresses(url)] == found


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://host:99999",
        "http://host:0",
        "http://ho st",
        "http://a:1,,b:2",
        "http://host?x=1",
        "http://h\n/x",
    ],
)
def test_what_cannot_be_a_url_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ConfigurationError, match="write http://host:8081"):
        Registry(url)


@pytest.mark.parametrize("url", ["htp://host", "redis://host", "", "host:8081", "orders"])
def test_another_scheme_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="names no registry"):
        Registry(url)


SECRETS = [
    "http://user:s3cr3t@host:8081",
    "http://user:s3/cr3t@host:8081",
    "http://user:s3@cr3t/x@host:8081,http://other:s3cr3t@b",
    "http://user:s3?cr3t#x@host:port",
    "http://user:s3cr3t@host?password=s3cr3t",
    "postgresql://user:s3cr3t@host/db",
    "ftp://user:s3/cr3t@host",
    "user:s3cr3t@host",
]


@pytest.mark.parametrize("url", SECRETS)
def test_a_password_is_shown_nowhere(url: str) -> None:
    shown = [safe(url)]
    for kind in (Registry, SyncRegistry):
        try:
            registry = kind(url)
        except ConfigurationError as error:
            shown.append(str(error))
        else:
            shown += [repr(registry), registry.url, repr(vars(registry))]
    if url.startswith("http"):
        try:
            shown.append(repr(addresses(url)))
        except ConfigurationError as error:
            shown.append(str(error))
    assert not [text for text in shown if "s3" in text or "cr3t" in text]


def test_access_shows_no_secret_either() -> None:
    assert "s3cr3t" not in repr(Access(user="u", password="s3cr3t")) + repr(Access(token="s3cr3t"))


@pytest.mark.parametrize(
    "wrong", [{"timeout": 0}, {"timeout": float("inf")}, {"retries": -1}, {"largest": 0}, {"keyfile": "x"}]
)
def test_access_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="Access"):
        Access(**wrong)  # type: ignore[arg-type]


def test_a_token_and_a_password_are_one_too_many() -> None:
    with pytest.raises(ConfigurationError, match="not both"):
        Access(user="u", token="t")


def test_access_is_for_http_only() -> None:
    with pytest.raises(ConfigurationError, match="over HTTP"):
        Registry("memory://", Access())


def test_certificates_that_are_not_there_are_named(tmp_path: object) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.pem"):
        Access(cafile=f"{tmp_path}/nowhere.pem").tls()
