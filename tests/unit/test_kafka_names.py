"""Kafka: what things are called, where messages wait, and what the URL and the table may say."""

from __future__ import annotations

import re

import pytest

from waybill import ConfigurationError
from waybill.addressing import partition_of
from waybill.tables import read_table
from waybill.topology import Subscription, TopicSpec
from waybill_kafka import Kafka, names, rooms
from waybill_kafka.connecting import locate
from waybill_kafka.options import BrokerTable


def test_parts_of_groups_are_told_apart_and_fit() -> None:
    pairs = [
        ("a.b", "c"),
        ("a", "b.c"),
        ("a", "b"),
        ("a.b.c", "dead"),
        ("x" * 128, "y" * 127 + "1"),
        ("x" * 128, "y" * 127 + "2"),
    ]
    made = [part(TopicSpec(topic), group) for topic, group in pairs for part in (names.inbox, names.dead, names.later)]
    assert len(set(made)) == len(made)
    for name in made:
        assert len(name) <= 249
        assert re.fullmatch(r"[a-zA-Z0-9._-]+", name)


def test_names_on_the_broker_stay_what_they_are() -> None:
    long, pattern = TopicSpec("x" * 128), TopicSpec("orders.#", pattern=True)
    assert names.topic(long) == "x" * 128
    assert names.group(long, "y" * 128) == f"{'x' * 128}..{'y' * 128}"
    assert names.inbox(TopicSpec("orders"), "billing") == "orders..billing.inbox"
    assert names.later(TopicSpec("orders"), None) == "orders..later"
    assert names.dead(pattern, "all") == "orders._any_..all.dead"
    assert names.dead(long, "y" * 128) == f"{'x' * 128}..{'y' * 93}-8c8772b5647ab5148cec.dead"
    assert names.inbox(long, "y" * 128) == f"{'x' * 128}..{'y' * 92}-8c8772b5647ab5148cec.inbox"


def test_groups_are_found_by_topic_and_by_pattern() -> None:
    groups = [
        "orders..billing",
        "orders.placed..audit",
        "orders.*..all",
        "#..every",
        "waybill/orders..later",
        "foreign",
    ]
    assert names.groups_of("orders.placed", groups) == ["orders.placed..audit", "orders.*..all", "#..every"]
    assert names.groups_of("orders", groups) == ["orders..billing", "#..every"]
    assert names.lasting(["orders..~screen-1f", "orders..billing"]) == ["orders..billing"]


def test_who_shares_a_topic_is_seen_by_the_inboxes_as_well() -> None:
    every, some = TopicSpec(name="#", pattern=True), TopicSpec(name="orders.*", pattern=True)
    inboxes = [
        names.inbox(every, "all"),
        names.inbox(some, "audit"),
        names.inbox(TopicSpec(name="orders.placed"), "billing"),
    ]
    topics = [*inboxes, "orders.placed", "orders.placed..billing.dead", "stock..other.inbox"]
    assert names.sharers("orders.placed", topics) == ["#..all", "orders.*..audit", "orders.placed..billing"]
    assert names.sharers("invoices", topics[1:]) == []


@pytest.mark.parametrize(
    ("pattern", "fits", "others"),
    [
        (
            "orders.*",
            ["orders.placed"],
            ["orders", "orders.a.b", "stock.orders.a", "orders.placed..g.dead", "orders..later"],
        ),
        ("orders.#", ["orders", "orders.a", "orders.a.b"], ["ordersx", "orders..later", "orders.a..g.inbox"]),
        ("#", ["a", "a.b"], ["a..g.inbox", "a..later"]),
        ("*.placed", ["orders.placed"], ["placed", "a.b.placed"]),
        ("#.placed", ["placed", "orders.placed", "a.b.placed"], ["replaced", "a.placed.b"]),
    ],
)
def test_a_pattern_fits_topics_and_no_parts_of_groups(pattern: str, fits: list[str], others: list[str]) -> None:
    spec = TopicSpec(pattern, pattern=True)
    regex = re.compile(names.regex(Subscription(topic=spec, group="g"), ["own.inbox"]))
    assert [name for name in [*fits, *others] if regex.match(name)] == fits
    assert regex.match("own.inbox")


def test_the_partition_of_a_key_is_that_of_javas_clients() -> None:
    # org.apache.kafka.common.utils.UtilsTest.testMurmur2
    assert [partition_of(key, 2**31) for key in (b"21", b"foobar", b"a-little-bit-long-string")] == [
        -973932308 & 0x7FFFFFFF,
        -790332482 & 0x7FFFFFFF,
        -985981536 & 0x7FFFFFFF,
    ]


@pytest.mark.parametrize("delay", [0.0, 0.3, 1.0, 4.9, 5.0, 61.0, 90_000.0, 2_592_000.0])
def test_a_wait_is_never_cut_short_and_ends_when_it_is_due(delay: float) -> None:
    now, due, hops = 1000.0, 1000.0 + delay, 0
    while now < due:
        step, until = rooms.hop(now, due)
        assert now < until <= due
        assert step == 0 or until - now == rooms.STEPS[step]
        now, hops = until, hops + 1
    assert now == due
    assert hops <= 60


def test_the_url_names_servers_and_nothing_else() -> None:
    place = locate("kafka+ssl://me:s%40@one,two:9093", read_table(BrokerTable, "kafka", {"sasl": "SCRAM-SHA-512"}))
    assert place.servers == ("one:9092", "two:9093")
    assert (place.secure, place.username, place.password) == (True, "me", "s@")
    assert "s@" not in place.name
    for url in ("kafka://host/topic", "kafka://host?acks=1", "amqp://host", "kafka://a,,b", "kafka://host:x"):
        with pytest.raises(ConfigurationError):
            locate(url, read_table(BrokerTable, "kafka", {}))


def test_a_password_does_not_travel_readable_unless_that_is_asked_for() -> None:
    with pytest.raises(ConfigurationError, match="readable by everybody"):
        locate("kafka://me:secret@host", read_table(BrokerTable, "kafka", {}))
    assert (
        locate("kafka://me:secret@host", read_table(BrokerTable, "kafka", {"plain_without_tls": True})).username == "me"
    )
    assert locate("kafka+ssl://me:secret@host", read_table(BrokerTable, "kafka", {})).username == "me"
    assert (
        locate("kafka://me:secret@host", read_table(BrokerTable, "kafka", {"sasl": "SCRAM-SHA-256"})).username == "me"
    )


def test_settings_that_cannot_be_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"lingr.*Known are"):
        read_table(BrokerTable, "kafka", {"lingr": 1})
    with pytest.raises(ConfigurationError, match="token_file"):
        read_table(BrokerTable, "kafka", {"sasl": "OAUTHBEARER"})
    for wrong in ({"partitions": 0}, {"replication": 2, "min_insync_replicas": 3}, {"retention": -1.0}):
        with pytest.raises(ConfigurationError):
            Kafka(**wrong)  # type: ignore[arg-type]


def test_options_are_entries_of_the_topic() -> None:
    options = Kafka(retention=60, min_insync_replicas=2, compaction=True, config={"segment.ms": "1000"})
    assert options.entries(TopicSpec("t")) == {
        "segment.ms": "1000",
        "retention.ms": "60000",
        "min.insync.replicas": "2",
        "cleanup.policy": "compact,delete",
    }
    assert options.entries(TopicSpec("t", retention=5))["retention.ms"] == "5000"
    assert hash(options) == hash(
        Kafka(retention=60, min_insync_replicas=2, compaction=True, config={"segment.ms": "1000"})
    )


def test_topics_that_kafka_takes_for_one_are_found() -> None:
    assert names.collisions(["a.b", "a_b", "a-b"]) == [("a.b", "a_b")]
