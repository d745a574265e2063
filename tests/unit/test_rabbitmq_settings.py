"""What is written in URL, table and contract, before anything connects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from waybill import ConfigurationError
from waybill.tables import read_table
from waybill_rabbitmq import RabbitMQ
from waybill_rabbitmq.connecting import locate
from waybill_rabbitmq.options import BrokerTable


def read(table: Mapping[str, Any]) -> BrokerTable:
    return read_table(BrokerTable, "rabbitmq", table)


def test_a_url_says_where_and_who() -> None:
    place = locate("amqps://us%40er:p%2Fss@one:1234/my%2Fhost", read({"hosts": ["two", "three:99"]}))
    assert (place.secure, place.username, place.password, place.vhost) == (True, "us@er", "p/ss", "my/host")
    assert place.servers == (("one", 1234), ("two", 5671), ("three", 99))


def test_the_table_goes_before_the_url() -> None:
    place = locate("amqp://localhost", read({"username": "me", "password": "secret"}))
    assert (place.vhost, place.username, place.password, place.servers) == ("/", "me", "secret", (("localhost", 5672),))


@pytest.mark.parametrize(
    ("url", "table", "named"),
    [
        ("amqp://host:port", {}, "cannot be read"),
        ("amqp://host?heartbeat=3", {}, "heartbeat"),
        ("amqp://host", {"heartbeats": 3}, "heartbeats"),
        ("amqp://host", {"heartbeat": 0}, "heartbeat"),
        ("amqp://host", {"delivery_limit": 3}, "delivery_limit"),
        ("amqp://host", {"hosts": [":1"]}, "hosts"),
    ],
)
def test_what_cannot_be_used_is_named(url: str, table: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        locate(url, read(table))


def test_no_secret_is_shown() -> None:
    assert "hush" not in repr(read({"password": "hush", "management": "http://u:hush@x"}))


@pytest.mark.parametrize("partitions", [0, -1, 257])
def test_partitions_have_bounds(partitions: int) -> None:
    with pytest.raises(ConfigurationError, match="partitions"):
        RabbitMQ(partitions=partitions)
