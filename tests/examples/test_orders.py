"""The orders example, as a user runs it."""

import json
from pathlib import Path

from tests.examples.user import EXAMPLES, User, commands, lines, shown

PAGE = EXAMPLES / "orders" / "README.md"


def test_it_prints_what_the_page_shows_as_json_and_as_avro(tmp_path: Path) -> None:
    command, as_avro = commands(PAGE)
    for each in (command, as_avro):
        output = User(tmp_path).run(each)
        assert lines(output) == shown(PAGE)[0], each
        assert list(tmp_path.iterdir()) == []


def test_explain_answers_what_happens_to_a_message_that_fails_five_times_and_when(tmp_path: Path) -> None:
    user = User(tmp_path, WAYBILL_APP="examples.orders.service:app", WAYBILL_URL="sqlite:///bus.db")
    (explained,) = json.loads(user.run("waybill explain --json"))
    assert explained["facts"]["a message that fails"] == (
        "5 attempts within 3 s (at most 0.2 s, 0.4 s, 0.8 s, 1.6 s apart, handling not counted), then dead-lettered"
    )
    assert list(tmp_path.iterdir()) == []
