"""What a user's headers may be, so that every broker carries them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybill import App, ConfigurationError, Settings, Topic
from waybill.headers import MAX_HEADERS, check_headers, size
from waybill.message import NO_HEADERS

T = Topic("things", str)


@given(st.dictionaries(st.text(max_size=140), st.text(max_size=30), max_size=5))
def test_headers_are_taken_as_they_are_or_refused_as_a_configuration_error(headers: dict[str, str]) -> None:
    try:
        checked = check_headers(headers)
    except ConfigurationError:
        return
    assert dict(checked) == headers
    assert size(checked) == sum(len((name + value).encode()) for name, value in headers.items())
    assert all(1 <= len(name) <= 128 for name in headers)


@pytest.mark.parametrize(
    "value", ["", "ü", "日本語", "🚀", "👩‍🚀", "👨‍👩‍👧", "10\u00a0000\u00a0€", "\u200fabc\u00ad", "a b", "x" * 10_000]
)
async def test_unicode_values_round_trip(value: str) -> None:
    app, seen = App("a", settings=Settings(url="memory://")), list[dict[str, str]]()

    async with app.test() as bus:
        await bus.publish(T, "x", headers={"h": value})
        seen.append(dict(bus.messages(T)[0].headers))
    assert seen == [{"h": value}]


@pytest.mark.parametrize("name", ["Ünïcode", "🚀", "with space", "UPPER", "a" * 128])
def test_unicode_names_are_carried(name: str) -> None:
    assert dict(check_headers({name: "v"})) == {name: "v"}


@pytest.mark.parametrize(
    "name",
    ["", "a" * 129, "id", "ID", "source", "Waybill", "waybill-x", "ce_id", "cloudEvents:id", "x-death", "CC", "BCC",
     "x-delay", "content-type", "Content-Type", "traceparent", "AWS.x", "line\nbreak", "nul\0", "\ud800", "tab\t"],
)  # fmt: skip
def test_a_name_with_a_meaning_of_its_own_or_that_cannot_travel_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="header"):
        check_headers({name: "v"})


@pytest.mark.parametrize("value", ["a\nb", "a\r", "\0", "\x7f", "\ud800", 7, None, b"x", True])
def test_a_value_that_cannot_travel_is_refused_when_publishing(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="header 'h'"):
        check_headers({"h": value})


@pytest.mark.parametrize("name", [7, None, b"x"])
def test_a_name_that_is_no_text_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="text"):
        check_headers({name: "v"})


def test_so_many_headers_and_no_more() -> None:
    assert len(check_headers({f"h{n}": "v" for n in range(MAX_HEADERS)})) == MAX_HEADERS
    with pytest.raises(ConfigurationError, match="256"):
        check_headers({f"h{n}": "v" for n in range(MAX_HEADERS + 1)})


def test_none_are_none() -> None:
    assert check_headers(None) is check_headers({}) is NO_HEADERS


def test_changing_the_dictionary_later_changes_nothing() -> None:
    mine = {"a": "1"}
    checked = check_headers(mine)
    mine["a"] = "2"
    assert dict(checked) == {"a": "1"}
