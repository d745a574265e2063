"""The rule book: whose dead letters, how soon, how often."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.dlq.letters import JOE, NOW, key, letter
from waybill import ConfigurationError
from waybill.dlq.index import Index
from waybill.dlq.model import State
from waybill.dlq.policy import Policy, Rules, overdue

BOOK = """
[default]
owner = "platform"
service_level = "24h"

["orders.*"]
owner = "orders"
service_level = "4h"

["orders.placed/billing"]
redrive_limit = 1
retention = "30d"
"""


def book(tmp_path: Path, text: str = BOOK) -> Policy:
    file = tmp_path / "dlq-policy.toml"
    file.write_text(text)
    return Policy.read(file)


def test_the_nearest_rule_holds(tmp_path: Path) -> None:
    policy = book(tmp_path)
    assert policy.of("invoices", "billing") == Rules(owner="platform")
    assert policy.of("orders.paid", "billing") == Rules(owner="orders", service_level=timedelta(hours=4))
    assert policy.of("orders.placed", "billing") == Rules(
        owner="orders", service_level=timedelta(hours=4), redrive_limit=1, retention=timedelta(days=30)
    )
    assert policy.of("orders.placed", "shipping").redrive_limit == 3


def test_without_a_book_there_are_rules() -> None:
    assert Policy().of("orders", "billing") == Rules(
        owner="", service_level=timedelta(hours=24), redrive_limit=3, retention=timedelta(days=90)
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[default]\nauto = ["redrive"]', "nothing is done by itself yet"),
        ("[default]\nowner = 1", "owner"),
        ("[default]\nredrive_limit = -1", "at least 0"),
        ('[default]\nservice_level = "1 day"', "a number and a unit"),
        ('[default]\nservice_level = "0s"', "a number and a unit"),
        ("[default]\nservice_level = 24", "a number and a unit"),
        ('[default]\nretention = "40000d"', "a century is the most"),
        ('[default]\nservice_level = "99999999999d"', "a century is the most"),
        ('[default]\nonwer = "me"', "Known are: owner, service_level"),
        ('owner = "me"', "stands in a table"),
        ('["orders"]\nretention = "1h"', "forgotten before it is due"),
        ("[default", "not TOML"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        book(tmp_path, text)


def test_the_longest_there_is_can_be_reckoned_with(index: Index, tmp_path: Path) -> None:
    policy = book(tmp_path, '[default]\nservice_level = "36500d"\nretention = "36500d"\n')
    index.record("orders", "billing", [letter(1)], now=NOW)
    assert overdue(index, policy, NOW) == []
    assert index.forget("orders", "billing", before=NOW - policy.of("orders", "billing").retention) == 0


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml \(dlq_policy\)"):
        Policy.read(tmp_path / "none.toml")


def test_letters_that_nobody_has_looked_at_in_time_are_overdue(index: Index, tmp_path: Path) -> None:
    policy = book(tmp_path)
    day = 86_400.0
    index.record("orders.paid", "billing", [letter(1, ago=5 * 3600), letter(2, ago=3 * 3600)], now=NOW)
    index.record("orders", "billing", [letter(n, ago=day + 60) for n in range(3)], now=NOW)
    index.record("invoices", "billing", [letter(4, ago=3600)], now=NOW)
    late = overdue(index, policy, NOW)
    assert [(each.topic, each.owner, each.count) for each in late] == [
        ("orders.paid", "orders", 1),
        ("orders", "platform", 3),
    ]
    assert late[1].due == NOW - timedelta(seconds=60)
    index.review([key(n) for n in range(3)], State.TRIAGED, JOE, owner="ann", now=NOW)
    assert [each.topic for each in overdue(index, policy, NOW)] == ["orders.paid"], (
        "who has looked at it has it in hand"
    )
