"""The fan-out example, as a user runs it: four programs, one of which cannot do its work for a while; on SNS and SQS as well."""

import json
import secrets
from contextlib import ExitStack
from pathlib import Path

from tests.brokers.running import Running
from tests.examples.user import EXAMPLES, User, commands, lines, shown

PAGE = EXAMPLES / "fanout" / "README.md"


def all_do_what_the_page_shows(user: User) -> None:
    shop, backlog, *services, restored, dead = commands(PAGE)
    waiting, handled, told, letters = shown(PAGE)
    said = lines(user.run(shop))
    if user.environment["WAYBILL_URL"].startswith("sqlite"):
        assert sorted(said + lines(user.run(backlog))) == waiting
    else:  # others know less of what they hold, and say so
        assert set(said) <= set(waiting)
        assert [row["ready"] for row in json.loads(user.run(f"{backlog} --json"))] == [3, 3, 3]
    with ExitStack() as stack:
        running = [stack.enter_context(user.start(service)) for service in services]
        for order in ("o-1", "o-2", "o-3"):
            running[1].until(f"push     {order}")
            running[2].until(f"sms      {order}")
        running[0].until("o-1")
        running[0].until("o-3")
        running[0].until("is a dead letter")
        assert [service.stop() for service in running] == [0, 0, 0]
        assert sorted(set(lines("".join(service.output for service in running)))) == handled
    with user.start(restored) as channel:
        channel.until("told", times=3)
        assert channel.stop() == 0
        assert lines(channel.output) == told
    assert lines(user.run(dead)) == letters


def test_each_channel_tells_of_every_order_though_one_is_down(tmp_path: Path) -> None:
    all_do_what_the_page_shows(User(tmp_path, WAYBILL_URL="sqlite:///waybill.db"))


def test_the_same_on_sns_and_sqs(sns: Running, tmp_path: Path) -> None:
    url = f"sqs://us-east-1?endpoint={sns.url}&wait=1&prefix=w{secrets.token_hex(5)}-"
    all_do_what_the_page_shows(
        User(tmp_path, WAYBILL_URL=url, AWS_ACCESS_KEY_ID="emulated", AWS_SECRET_ACCESS_KEY="emulated")
    )


def test_the_services_may_come_one_after_another(tmp_path: Path) -> None:
    user = User(tmp_path, WAYBILL_URL="sqlite:///waybill.db")
    shop, backlog, *services, _, _ = commands(PAGE)
    user.run(shop)
    left = [3, 3, 3]
    for place, service in enumerate(services[:2]):
        with user.start(service) as running:
            running.until("o-3")
            assert running.stop() == 0
        left[place] = 0
        assert [row["ready"] + row["in_flight"] for row in json.loads(user.run(f"{backlog} --json"))] == left
