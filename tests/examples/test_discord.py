"""The translation of Discord's gateway payloads, on the recording."""

import json
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import msgspec
import pytest

from examples.discord.events import CommandInvoked, MemberJoined, MessageEdited, MessagePosted, time_of
from examples.discord.gateway import Gateway
from tests.examples.user import EXAMPLES

RECORDING = (EXAMPLES / "discord" / "gateway.jsonl").read_text().splitlines()
GENERAL, HELP, PRIVATE = "1204396071321600001", "1204758459187200002", "1205120847052800003"


def dispatch(kind: str, **data: Any) -> str:
    return json.dumps({"op": 0, "s": 7, "t": kind, "d": data})


def recorded(kind: str) -> dict[str, Any]:
    """The data of the recording's first payload of that type."""
    return next(payload["d"] for payload in map(json.loads, RECORDING) if payload["t"] == kind)


def test_every_payload_is_an_event_or_counted_or_about_the_connection() -> None:
    gateway = Gateway()
    events = list(gateway.events(RECORDING))
    connection = [line for line in RECORDING if json.loads(line)["op"] != 0]
    assert len(events) + gateway.skipped.total() + len(connection) == len(RECORDING)
    assert gateway.skipped == {
        "READY": 1,
        "GUILD_CREATE": 1,
        "TYPING_START": 1,
        "MESSAGE_UPDATE": 1,  # the preview of a link
        "RESUMED": 1,
        "INTERACTION_CREATE": 1,  # a button
        "SOMETHING_NEW": 1,
    }


def test_the_sequence_number_is_what_a_resume_needs() -> None:
    gateway = Gateway()
    assert gateway.sequence is None
    list(gateway.events(RECORDING))
    assert gateway.sequence == 19
    gateway.event('{"op": 11, "d": null, "s": null, "t": null}')
    assert gateway.sequence == 19


def test_each_event_is_told_once_by_its_identity_and_a_channel_keeps_its_order() -> None:
    once = list({event.identity: event for event in Gateway().events(RECORDING)}.values())
    by_channel = {
        key: [(event.kind, getattr(event, "content", "")) for event in group]
        for key, group in groupby(sorted(once, key=lambda event: event.key), key=lambda event: event.key)
    }
    assert by_channel[GENERAL] == [
        ("message-posted", "first message"),
        ("message-edited", "first message, edited"),
        ("message-posted", "https://example.org/page"),
        ("message-posted", "hello from user-3"),
        ("message-edited", "first message, edited twice"),
        ("message-deleted", ""),
    ]
    assert by_channel[HELP] == [("message-posted", "a question"), ("message-deleted", ""), ("command-invoked", "")]
    assert by_channel[PRIVATE] == [("command-invoked", ""), ("message-posted", "in private")]


def test_a_message_edited_twice_is_two_events() -> None:
    first, second, again = [event for event in Gateway().events(RECORDING) if isinstance(event, MessageEdited)]
    assert first.message_id == second.message_id
    assert first.identity != second.identity
    assert second.identity == again.identity


def test_what_an_event_says() -> None:
    events = list(Gateway().events(RECORDING))
    assert events[0] == MessagePosted(
        message_id="1457705203007488000",
        channel_id=GENERAL,
        guild_id="1204033683456000000",
        author_id="1207657562112000001",
        author="user-1",
        content="first message",
    )
    (joined,) = [event for event in events if isinstance(event, MemberJoined)]
    assert (joined.name, joined.joined_at) == ("user-3", datetime(2026, 1, 5, 12, 0, 9, tzinfo=UTC))
    in_guild, in_private = [event for event in events if isinstance(event, CommandInvoked)]
    assert (in_guild.command, in_guild.options) == ("remind", {"minutes": 10, "text": "the meeting"})
    assert (in_private.command, in_private.user_id) == ("help", events[0].author_id)


def test_a_snowflake_holds_its_time() -> None:
    # the documentation's own example, https://docs.discord.com/developers/reference#snowflakes
    assert time_of("175928847299117063") == datetime(2016, 4, 30, 11, 18, 25, 796000, tzinfo=UTC)
    for payload in map(json.loads, RECORDING):
        if payload["t"] == "MESSAGE_CREATE":
            assert time_of(payload["d"]["id"]) == datetime.fromisoformat(payload["d"]["timestamp"])


def test_fields_that_nobody_reads_may_come_and_go() -> None:
    message = recorded("MESSAGE_CREATE")
    lean = {name: message[name] for name in ("id", "channel_id", "author", "content")}
    assert isinstance(Gateway().event(dispatch("MESSAGE_CREATE", **lean, poll={"question": 1})), MessagePosted)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"id": 1457705203007488000}, id="an id that is a number"),
        pytest.param({"id": "the first"}, id="an id that is none"),
        pytest.param({"author": None}, id="no author"),
        pytest.param({"content": None}, id="no content"),
    ],
)
def test_a_payload_that_is_not_as_documented_is_refused_and_does_not_come_again(wrong: dict[str, Any]) -> None:
    gateway = Gateway()
    with pytest.raises(msgspec.ValidationError):
        gateway.event(dispatch("MESSAGE_CREATE", **{**recorded("MESSAGE_CREATE"), **wrong}))
    assert gateway.sequence == 7
