"""Discord's gateway payloads, translated, taken onto the bus and handled, on the recording; and the program, as a user runs it."""

import json
import re
from datetime import UTC, datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from examples.discord import service
from examples.discord.contracts import Happened, happened
from examples.discord.events import (
    CommandInvoked,
    MemberJoined,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    time_of,
)
from examples.discord.gateway import MALFORMED, Gateway
from examples.discord.ingest import Ingester, Note, NotOnTheBus
from examples.discord.recording import play
from examples.discord.store import Store
from tests.examples.user import EXAMPLES, User, commands, lines, shown

PAGE = EXAMPLES / "discord" / "README.md"
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
        MALFORMED: 1,  # a message of nobody
    }


def test_the_sequence_number_is_what_a_resume_needs() -> None:
    gateway = Gateway()
    assert gateway.sequence is None
    list(gateway.events(RECORDING))
    assert gateway.sequence == 20
    gateway.event('{"op": 11, "d": null, "s": null, "t": null}')
    assert gateway.sequence == 20


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


def test_a_payload_that_is_not_as_documented_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    gateway = Gateway()
    wrong = dispatch("MESSAGE_CREATE", **{**recorded("MESSAGE_CREATE"), "id": "a secret"})
    events = list(gateway.events(["{", wrong, dispatch("MESSAGE_DELETE", id="1", channel_id="2")]))
    assert events == [MessageDeleted(message_id="1", channel_id="2")]
    assert gateway.skipped == {MALFORMED: 2}
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "a secret" not in caplog.text


# ---------------------------------------------------------------- onto the bus, and what becomes of it


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(service, "store", Store(tmp_path / "discord.db"))
    return service.store


class Forgetful(Ingester):
    """One that never comes to note anything."""

    def note(self) -> None:
        pass


@pytest.mark.parametrize("last", range(1, 8))
async def test_wherever_the_ingester_ends_each_event_is_handled_once_and_in_order(
    store: Store, tmp_path: Path, last: int
) -> None:
    once = {event.identity: event for event in Gateway().events(RECORDING)}
    counted, note = Gateway(), tmp_path / "note"
    list(counted.events(RECORDING))
    handled: list[tuple[str, str]] = []
    service.app.observe(lambda ended: handled.append((ended.delivery.group, ended.delivery.message.id)))
    async with service.app.test() as bus:
        parts, noting = play(), Ingester(service.app, note)
        for payloads in islice(parts, last - 1):
            await noting.take(payloads)
        await Forgetful(service.app, note).take(next(parts))
        resumed = Ingester(service.app, note)
        for payloads in play(resumed.gateway.sequence):
            await resumed.take(payloads)
        await bus.drain()
    assert sorted(handled) == sorted((group, identity) for group in ("moderation", "archive") for identity in once)
    for channel in {event.key for event in once.values()}:
        applied = [identity for key, identity in store.applied() if key == channel]
        assert applied == [identity for identity, event in once.items() if event.key == channel]
    assert store.archived() == once.keys()
    assert Note.read(note) == Note(20, dict(counted.skipped))


async def test_nothing_is_noted_before_it_is_on_the_bus(store: Store, tmp_path: Path) -> None:
    other = MessagePosted(
        message_id="1457705203007488000", channel_id=GENERAL, author_id="1", author="somebody", content="something else"
    )
    async with service.app.test() as bus:
        await bus.publish(happened, Happened(other))  # the recording's first message has its id, and so is refused
        ingester = Ingester(service.app, tmp_path / "note")
        first, second, *_ = play()
        await ingester.take(first)
        with pytest.raises(NotOnTheBus, match="1 of 3 events"):
            await ingester.take(second)
    assert Note.read(tmp_path / "note").sequence == 3


def test_an_event_that_comes_again_changes_nothing(store: Store) -> None:
    posted = MessagePosted(message_id="1", channel_id="2", author_id="3", author="user-1", content="first")
    edits = [
        MessageEdited(message_id="1", channel_id="2", content=text, edited_at=datetime(2026, 1, 5, 12, n, tzinfo=UTC))
        for n, text in enumerate(["second", "third"])
    ]
    for event in (posted, *edits, edits[0], posted):
        store.apply(event)
    assert store.messages() == [("2", "user-1", "third")]
    deleted = MessageDeleted(message_id="1", channel_id="2")
    for event in (deleted, posted, deleted):
        store.apply(event)
    assert store.messages() == []
    assert len(store.applied()) == 4


# ---------------------------------------------------------------- the program


def test_it_prints_what_the_page_shows(tmp_path: Path) -> None:
    (command,) = commands(PAGE)
    output = User(tmp_path).run(command)
    assert lines(output) == shown(PAGE)[0]
    assert list(tmp_path.iterdir()) == []


def test_each_event_is_handled_once_although_five_are_told_twice(tmp_path: Path) -> None:
    output = User(tmp_path).run(commands(PAGE)[0])
    assert sum(int(number) for number in re.findall(r"events: (\d+)", output)) == 12 + 2 + 3
    table = dict(re.findall(r"^(\S.*?) {2,}(\d+) +\d+$", output, re.MULTILINE))
    once = ("handled by moderation", "applied", "handled by archive", "archived")
    assert [table[figure] for figure in once] == ["12"] * 4
    assert (table["channels in their order"], table["commands answered"]) == ("4", "2")
    assert (table["skipped: MESSAGE_UPDATE"], table[f"skipped: {MALFORMED}"]) == ("1", "1")
