"""The batch example, as a user runs it, and its handler when the table is not to be had."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from examples.batch import service
from examples.batch.contracts import Reading, readings
from examples.batch.table import Table
from tests.examples.user import EXAMPLES, User, commands, lines, shown

PAGE = EXAMPLES / "batch" / "README.md"
NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def test_it_prints_what_the_page_shows(tmp_path: Path) -> None:
    (command,) = commands(PAGE)
    assert lines(User(tmp_path).run(command)) == shown(PAGE)[0]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    table = Table(tmp_path / "readings.db")
    monkeypatch.setattr(service, "table", table)
    yield table
    table.close()


def several(count: int) -> list[Reading]:
    return [Reading("s-1", NOON + timedelta(seconds=n), 20.0 + n) for n in range(count)]


async def test_a_poisoned_reading_anywhere_in_a_batch_is_a_dead_letter_alone(table: Table) -> None:
    sent = several(30)
    for place in (0, 13, 29):
        sent[place] = Reading("broken", NOON, -300.0 - place)
    async with service.app.test() as bus:
        await service.app.publish_many(readings, sent)
        await bus.drain()
        dead = [readings.decode(letter.message).celsius for letter in bus.dead_letters(readings, group="batches")]
    assert sorted(dead) == [-329.0, -313.0, -300.0]
    assert (table.transactions, table.rows()) == (1, 27)


async def test_a_reading_that_was_stored_before_does_not_hold_up_its_batch(table: Table) -> None:
    table.add(several(5))
    async with service.app.test() as bus:
        await service.app.publish_many(readings, several(10))
        await bus.drain()
        assert bus.dead_letters(readings) == []
    assert table.rows() == 10


async def test_when_the_transaction_fails_each_is_tried_alone_and_the_one_to_blame_fails(
    table: Table, tmp_path: Path
) -> None:
    table.add([])  # the file is there
    other = sqlite3.connect(tmp_path / "readings.db")
    other.executescript(
        "CREATE TRIGGER full BEFORE INSERT ON readings WHEN NEW.celsius = 25.0 BEGIN SELECT RAISE(ABORT, 'full'); END"
    )
    other.close()
    async with service.app.test() as bus:
        await service.app.publish_many(readings, several(10))
        await bus.drain()
        dead = [readings.decode(letter.message).celsius for letter in bus.dead_letters(readings)]
    assert dead == [25.0]
    assert (table.transactions, table.rows()) == (1 + 9, 9)
