"""Pages of one look: fetched once, kept for a while, and begun anew where they are gone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from waybill import Message, browsing
from waybill.browsing import Look, Looks


def message(ident: str) -> Message:
    return Message(id=ident, body=b"", type="t", source="s", time=datetime.now(UTC))


class Broker:
    """What can be looked at, and how often somebody has."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.looked = 0

    async def look(self) -> Look[str]:
        self.looked += 1
        return Look([str(n) for n in range(self.number)], complete=True)


async def test_all_letters_come_once_and_are_fetched_once() -> None:
    broker, looks = Broker(25), Looks[str]()
    page = await looks.page(None, 10, look=broker.look, read=message)
    found = [*page.messages]
    while page.after is not None:
        page = await looks.page(page.after, 10, look=broker.look, read=message)
        found += page.messages
        assert page.complete
    assert [each.id for each in found] == [str(n) for n in range(25)]
    assert broker.looked == 1


async def test_two_lookers_do_not_disturb_each_other() -> None:
    broker, looks = Broker(4), Looks[str]()
    one = await looks.page(None, 2, look=broker.look, read=message)
    other = await looks.page(None, 3, look=broker.look, read=message)
    assert [each.id for each in (await looks.page(one.after, 2, look=broker.look, read=message)).messages] == ["2", "3"]
    assert [each.id for each in (await looks.page(other.after, 3, look=broker.look, read=message)).messages] == ["3"]
    assert broker.looked == 2


async def test_a_page_that_is_asked_for_late_is_of_a_new_look_at_the_same_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker, looks = Broker(4), Looks[str]()
    first = await looks.page(None, 2, look=broker.look, read=message)
    monkeypatch.setattr(browsing, "KEPT", 0.0)
    await looks.page(None, 4, look=broker.look, read=message)
    late = await looks.page(first.after, 2, look=broker.look, read=message)
    assert [each.id for each in late.messages] == ["2", "3"]
    assert broker.looked == 3
