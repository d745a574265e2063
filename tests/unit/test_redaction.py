"""Secrets in what people read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waybill import Message
from waybill.redaction import MASK, looks_secret, redact, secrets_of, shown_body, shown_headers

SECRET = "hunter2-s3cr3t"


@pytest.mark.parametrize(
    "text",
    [
        f"amqps://user:{SECRET}@broker/vhost cannot be reached",
        f"postgresql+asyncpg://{SECRET}@db",
        f"password={SECRET}",
        f"PASSWORD: {SECRET}",
        f"db_password = '{SECRET}'",
        f'{{"accessToken": "{SECRET}", "n": 1}}',
        f"{{'api_key': '{SECRET}'}}",
        f"Config(client_secret='{SECRET}', retries=3)",
        f"headers['X-Api-Key'] = '{SECRET}'",
        f"AWS_SECRET_ACCESS_KEY={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"sent 'Bearer {SECRET}' and got 401",
        f"Cookie: session={SECRET}",
        f"?signature={SECRET}&x=1",
        f"https://host/path?token={SECRET}",
        f"[type=int_parsing, input_value='{SECRET}', input_type=str]",
        f"input_value={{'card': '{SECRET}'}}, input_type=dict]",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
        f"pin={SECRET}",
    ],
)
def test_what_a_name_or_a_form_gives_away_is_not_shown(text: str) -> None:
    assert SECRET not in redact(text)
    assert MASK in redact(text)


@pytest.mark.parametrize(
    "token",
    [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "a1" * 18,
        "xoxb-123456789012-abcdef",
        "sk_live_4eC39HqLyjWDarjtT1",
    ],
)
def test_tokens_are_known_by_their_form(token: str) -> None:
    assert token not in redact(f"rejected {token} today")


@pytest.mark.parametrize(
    "text",
    [
        "no answer for order 17 after 3 attempts",
        "spinning=3 passing: 7 author=joe keyboard: qwerty monkey=1",
        "KeyError: 'password'",
        "https://host/path?x=1#y",
        "expected str, got int - at `$.number`",
        "the token bucket is empty",
        "",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_names_that_look_secret() -> None:
    secret = [
        "x-api-key",
        "Authorization",
        "accessToken",
        "pin",
        "card_number",
        "Set-Cookie",
        "sessionId",
        "db-password",
        "userPin",
    ]
    plain = ["author", "keyboard", "pinned", "monkey", "passport", "customer", "compass", "tokyo", "spin", "key"]
    assert [name for name in secret + plain if looks_secret(name)] == secret
    assert looks_secret("Customer", {"customer"})


def message(body: bytes | None = None, **headers: str) -> Message:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Message(id="1", body=body, type="t", source="s", time=at, headers=headers)


def test_what_a_message_keeps_secret_is_found_where_an_error_quotes_it() -> None:
    body = b'{"order": 17, "card": {"card_number": "4111-1111", "cvc": 123}, "note": "\\"x", "password": "p\\u00e4ss"}'
    kept = message(body, authorization="Basic-abc", region="eu")
    found = secrets_of(kept, {"region"})
    assert {"4111-1111", "Basic-abc"} <= set(found)
    assert "17" not in found
    assert redact("cannot charge 4111-1111 for Basic-abc", found) == f"cannot charge {MASK} for {MASK}"


def msgspec_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


@pytest.mark.parametrize("value", ['pä55wörd"x\\y', "a/b\nc", "s" * 5000, "emoji \U0001f511 key"])
@pytest.mark.parametrize("encode", [json.dumps, msgspec_json, repr])
@pytest.mark.parametrize("written", [json.dumps, msgspec_json])
def test_a_secret_of_any_length_is_found_however_it_is_escaped(
    value: str, encode: Callable[[str], str], written: Callable[[object], str]
) -> None:
    found = secrets_of(message(written({"password": value}).encode()))
    told = redact(f"no {value} and no {encode(value)} fits", found)
    assert told in {f"no {MASK} and no {quote}{MASK}{quote} fits" for quote in "'\""}


def test_all_that_is_within_a_secret_field_is_secret() -> None:
    body = {
        "tokens": ["abcdef", "ghijkl"],
        "credentials": {"user": "ada1", "deeper": [{"value": 12345}]},
        "note": "fine",
    }
    assert set(secrets_of(message(json.dumps(body).encode()))) == {"abcdef", "ghijkl", "ada1", "12345"}


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"pin" : "1",  "cvv": 123, "n": 1.0, "n": 2}', b'{"pin" : "***",  "cvv": "***", "n": 1.0, "n": 2}'),
        (b'{"passwords": ["a", {"b": 2}], "z": "a"}', b'{"passwords": ["***", {"b": "***"}], "z": "a"}'),
        (b'{"token": null, "region": "eu"}', b'{"token": null, "region": "eu"}'),
        (b'{"p\\u0061ssword": "abc"}', b'{"p\\u0061ssword": "***"}'),
        (b'["amqp://u:pw@h/v", "Bearer abcdef", "sk_live_4eC39HqLyj"]', b'["amqp://***@h/v", "Bearer ***", "***"]'),
        (b'"{\\"password\\": \\"x\\"}"', b'"{\\"password\\": ***}"'),
        (b'{"a": "as hunter2-s3cr3t said", "b": 4111}', b'{"a": "as *** said", "b": "***"}'),
        (b'{"token": {"a": "b"', b'{"token": {"a": "***"'),
        (b"password=x1&user=ada", b"password=***&user=ada"),
        (b"\xff\x00 hunter2-s3cr3t\x00", b"\xff\x00 ***\x00"),
        (b"", b""),
    ],
)
def test_a_body_is_shown_without_what_is_secret_and_otherwise_as_it_came(body: bytes, shown: bytes) -> None:
    assert shown_body(body, [SECRET, "4111"]) == shown


def test_a_body_is_shown_without_its_secrets_however_many_and_wherever_they_are() -> None:
    body = [{"n": n, "password": f"pw-{n:05}", "filler": "x" * 100} for n in range(1500)]
    told = json.loads(shown_body(json.dumps(body).encode()))
    assert told == [{**one, "password": MASK} for one in body]


@given(st.binary(max_size=300))
def test_bodies_of_any_kind_can_be_shown(body: bytes) -> None:
    shown_body(body, [SECRET])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=30)
@given(JSON, JSON)
def test_json_stays_json(value: object, secret: object) -> None:
    told = json.loads(shown_body(json.dumps({"value": value, "password": [SECRET, secret], "n": 1}).encode()))
    assert told.keys() == {"value", "password", "n"}
    assert SECRET not in json.dumps(told)


def test_headers_are_shown_without_what_is_secret() -> None:
    headers = {"x-token": "t", "region": "eu", "Customer": "c", "callback": "https://u:p@host/"}
    shown = {"x-token": MASK, "region": "eu", "Customer": MASK, "callback": f"https://{MASK}@host/"}
    assert shown_headers(headers, {"customer"}) == shown


@given(st.binary(max_size=300))
def test_bodies_of_any_kind_are_looked_into(body: bytes) -> None:
    secrets_of(message(body))


@pytest.mark.parametrize(
    "evil",
    [
        "_" * 9,
        "password",
        "password=",
        "://",
        "x://",
        "-----BEGIN PRIVATE KEY-----",
        "input_value=",
        "a-",
        '"',
        "eyJaaaaa.",
        "token_ ",
    ],
)
def test_no_text_makes_it_slow(evil: str) -> None:
    began = time.process_time()
    redact(evil * (40_000 // len(evil)))
    body = (evil * (64_000 // len(evil))).encode()
    shown_body(body, secrets_of(message(body)))
    assert time.process_time() - began < 10
