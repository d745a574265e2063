"""SQS: names, limits, attempts, receivers, what differs, rights and costs, without any broker."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import msgspec
import pytest

from tests.docs.test_documents import ROOT, blocks
from waybill import BrokerError, BrokerUnavailable, ConfigurationError, DestinationMissing
from waybill.foreign import NotPermitted
from waybill.topology import Destination, Subscription, TopicSpec, Topology
from waybill_sqs import SQS, limits, names, objects, rights
from waybill_sqs.attempts import Tried
from waybill_sqs.connecting import located
from waybill_sqs.cost import expected, words
from waybill_sqs.layout import Layout
from waybill_sqs.mapping import NotLetIn, NotTaken, Throttled, is_lost, mapped, refusal
from waybill_sqs.options import BrokerTable
from waybill_sqs.polling import seconds, wanted_receivers

SPEC = TopicSpec("orders.placed", ordered=True)
BILLING = Subscription(topic=SPEC, group="billing")


def layout(**settings: Any) -> Layout:
    return Layout(BrokerTable(**settings))


# ---------------------------------------------------------------- names


def test_names_are_what_an_operator_expects() -> None:
    assert names.topic(SPEC, fifo=False) == "orders-placed"
    assert names.queue(SPEC, "billing", fifo=False, prefix="prod-") == "prod-orders-placed_to_billing"
    assert names.dead(SPEC, "billing", fifo=True) == "orders-placed_to_billing_dead.fifo"


def test_names_that_look_alike_are_told_apart_and_are_all_carried() -> None:
    users = ["a", "a.b", "a-b", "a_b", "A.b", "a.b.c", "a.-b", "a-.b", "a_-b", "a-_b", "a.to.b", "a_to_b", "a.dead"]
    users += ["x" * 127 + "a", "x" * 127 + "b", "x" * 100]
    found: list[str] = []
    for name in users:
        spec = TopicSpec(name)
        found.append(names.queue(spec, None, fifo=False))
        for group in ("b", "dead", "b_to_c", "b.dead", "y" * 128):
            found += [names.queue(spec, group, fifo=False), names.dead(spec, group, fifo=False)]
    assert not [pair for pair in combinations(sorted(found), 2) if pair[0] == pair[1]]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,75}", name) for name in found), "with .fifo there are 80 at most"


def test_each_destination_is_a_place_of_its_own() -> None:
    for direct in (False, True):
        at = layout(direct=direct)
        places = {kind: at.place(Destination(kind, SPEC, None if kind == "topic" else "g")) for kind in KINDS}
        assert places["group"] == places["retry"] != places["dead"]
        assert (places["topic"] == places["group"]) is direct
    assert layout(fifo=True).place(Destination("topic", SPEC.__class__("t", options=(SQS(fifo=False),)))) == "t"


KINDS: Any = ("topic", "group", "retry", "dead")


# ---------------------------------------------------------------- limits


@dataclass
class Weighed:
    size: int


@pytest.mark.parametrize(
    ("sizes", "fit"),
    [([], 0), ([1] * 25, 10), ([600, 600], 1), ([1000], 1), ([2000], 1), ([500, 500, 1], 2), ([1, 2000], 1)],
)
def test_a_call_takes_ten_and_no_more_bytes_than_it_may(sizes: list[int], fit: int) -> None:
    assert limits.split([Weighed(size) for size in sizes], most_bytes=1000) == fit


def test_what_is_no_character_of_xml_is_not_carried() -> None:
    assert all(limits.carried(text) for text in ("a", "\t\n\r", "\ud7ff\ue000\ufffd", "🂡", "\U0010ffff"))
    assert not any(limits.carried(text) for text in ("", "\x00", "a\x1f", "\x0b", "\ufffe", "\uffff", "\ud800"))


def test_names_that_aws_keeps_for_itself_are_no_attributes() -> None:
    assert limits.is_carried("region", "eu")
    assert not any(
        limits.is_carried(n, "v") for n in ("AWS.x", "amazon.y", ".a", "a.", "a..b", "ä", "a b", "id", "x" * 257)
    )


# ---------------------------------------------------------------- attempts and receivers


def test_what_was_tried_in_place_is_remembered_and_what_a_copy_tells_counts_as_well() -> None:
    known, where = Tried(), ("queue", "m")
    assert known.of(where, 0) == 0
    known.note(where, 2)
    assert known.of(where, 0) == 2
    assert known.of(where, 4) == 4
    assert known.of(("other", "m"), 0) == 0


def test_what_is_remembered_is_bounded() -> None:
    known = Tried(2)
    for number in range(5):
        known.note(("q", str(number)), 7)
    assert [known.of(("q", str(number)), 0) for number in range(5)] == [0, 0, 0, 7, 7]


def test_there_are_as_many_receivers_as_bring_full_batches_and_one_when_nothing_comes() -> None:
    number = 1
    for _ in range(5):
        number = wanted_receivers(number, 10, 10, 8)
    assert number == 8
    assert wanted_receivers(8, 3, 10, 8) == 7
    assert wanted_receivers(8, 0, 10, 8) == 1
    assert wanted_receivers(1, 1, 10, 8) == 1


def test_sqs_hides_for_longer_than_we_count_on() -> None:
    assert [seconds(lease) for lease in (0.1, 1.0, 1.1, 30.0)] == [2, 2, 3, 31]


# ---------------------------------------------------------------- what differs


def test_what_others_put_into_a_policy_stays_and_ours_is_there_once() -> None:
    first = objects.allowing(None, "queue", "topic")
    other = {"Sid": "theirs", "Effect": "Deny"}
    with_theirs = msgspec.json.decode(first)
    with_theirs["Statement"].append(other)
    second = msgspec.json.decode(objects.allowing(msgspec.json.encode(with_theirs).decode(), "queue", "another"))
    assert [each["Sid"] for each in second["Statement"]] == ["theirs", "waybill"]
    ours = second["Statement"][1]
    assert ours["Condition"] == {"ArnEquals": {"aws:SourceArn": "another"}}
    assert ours["Resource"] == "queue"


def test_what_differs_is_told_and_what_is_only_written_otherwise_is_not() -> None:
    part = objects.group_part(layout(), BILLING, dead_arn="arn:dead")
    there = {
        "MessageRetentionPeriod": "1209600",
        "RedrivePolicy": '{ "maxReceiveCount": "1000", "deadLetterTargetArn": "arn:dead" }',
    }
    assert not list(objects.differences(part.attributes, there))
    assert not list(objects.differences({"FifoThroughputLimit": "x"}, there)), "an emulator does not show it"
    assert [d.attribute for d in objects.differences(part.attributes, {})] == ["RedrivePolicy"]
    (less,) = objects.differences({"MessageRetentionPeriod": "60"}, there)
    assert less.dear
    (more,) = objects.differences({"MessageRetentionPeriod": "1209600"}, {"MessageRetentionPeriod": "60"})
    assert not more.dear


def test_sns_filters_where_all_headers_travel_as_attributes() -> None:
    spec = TopicSpec("t", options=(SQS(filter_headers=("region",)),))
    where = (("region", ("eu", "us")),)
    assert objects.filter_of(Subscription(topic=spec, group="g", where=where)) == '{"region":["eu","us"]}'
    assert objects.filter_of(Subscription(topic=spec, group="g")) is None
    assert objects.filter_of(Subscription(topic=spec, group="g", where=(*where, ("size", ("1",))))) is None


# ---------------------------------------------------------------- rights, costs, settings


def test_each_role_is_allowed_no_more_than_it_needs() -> None:
    at = layout()
    publish = rights.policy(rights.publishing(at, SPEC), region="eu-west-1", account="1")
    assert publish["Statement"] == [
        {
            "Effect": "Allow",
            "Action": ["sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic", "sns:Publish"],
            "Resource": "arn:aws:sns:eu-west-1:1:orders-placed",
        }
    ]
    consume = rights.consuming(at, BILLING)
    assert "sqs:ReceiveMessage" not in consume["sqs:orders-placed_to_billing_dead"]
    assert not [action for actions in consume.values() for action in actions if "Create" in action or "*" in action]
    assert "sqs:DeleteMessage" in rights.operating(at, BILLING)["sqs:orders-placed_to_billing_dead"]


@pytest.mark.parametrize("longer", [0, 30, 60, 100])
@pytest.mark.parametrize("fifo", [False, True])
def test_who_makes_a_topic_may_make_all_its_queues_however_long_their_names_are(longer: int, fifo: bool) -> None:
    at, spec = layout(fifo=fifo, prefix="prod-"), TopicSpec("orders.placed" + "x" * longer)
    (queues,) = (resource for resource in rights.making(at, [spec]) if resource.startswith("sqs:"))
    for name in (at.queue(spec, "billing"), at.dead(spec, "billing" + "y" * longer)):
        assert f"sqs:{name}".startswith(queues.removesuffix("*"))


@pytest.mark.parametrize("role", ["publisher", "consumer", "operator", "job"])
def test_the_policies_of_the_page_are_those_that_are_written(role: str) -> None:
    at = layout()
    written: dict[str, rights.Rights] = {
        "publisher": rights.publishing(at, SPEC),
        "consumer": rights.consuming(at, BILLING),
        "operator": rights.operating(at, BILLING),
        "job": rights.making(at, [SPEC]),
    }
    shown = [msgspec.json.decode(block) for block in blocks(ROOT / "docs" / "sqs.md", "json")]
    assert len(shown) == len(written)
    assert rights.policy(written[role], region="eu-west-1", account="123456789012") in shown


def test_calls_are_told_before_anything_starts() -> None:
    facts = dict(words(layout(), BILLING))
    assert "PublishBatch 100,000" in facts["calls a million messages"]
    assert facts["calls of an idle process"].startswith("4,320 a day")
    assert "SendMessageBatch" in dict(words(layout(direct=True), BILLING))["calls a million messages"]


@pytest.mark.parametrize(
    ("rate", "size", "each"),
    [
        (450, 256, (100_000, 100_000, 100_000)),
        (0, 256, (1_000_000, 1_000_000, 1_000_000)),
        (100, 256, (333_333, 333_333, 166_667)),
        (450, 70_000, (1_100_000, 1_100_000, 100_000)),
    ],
)
def test_calls_follow_from_how_many_share_one(rate: float, size: int, each: tuple[int, ...]) -> None:
    found = {call.what: call for call in expected(layout(), Topology([BILLING.topic], [BILLING]), rate=rate, size=size)}
    assert tuple(round(call.per_million) for call in found.values()) == each
    assert found["ReceiveMessage of orders.placed/billing"].idle_per_day == 4_320


def test_settings_may_stand_in_the_url() -> None:
    region, table = located("sqs://eu-west-1?endpoint=http://localhost:4566&fifo=true", {"wait": 5})
    assert (region, table.endpoint, table.fifo, table.wait) == ("eu-west-1", "http://localhost:4566", True, 5)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqs://", "sqs://REGION"),
        ("sqs://key:secret@eu-west-1", "credentials"),
        ("sqs://eu-west-1/queue", "sqs://REGION"),
        ("sqs://eu-west-1?endpoint=http://sqs.example.com", "https"),
        ("sqs://eu-west-1?endpoint=ftp://localhost", "https"),
        ("sqs://eu-west-1?endpoint=https://key:secret@host", "credentials"),
        ("sqs://eu-west-1?colour=blue", "colour"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_with_the_fix(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        located(url, {})


def test_headers_to_filter_by_are_names_and_few() -> None:
    for wrong in ("region", tuple(f"h{number}" for number in range(9))):
        with pytest.raises(ConfigurationError, match="filter_headers"):
            SQS(filter_headers=wrong)  # type: ignore[arg-type]


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("code", "status", "ours"),
    [
        ("RequestThrottled", 403, Throttled),
        ("ServiceUnavailable", 503, Throttled),
        ("AWS.SimpleQueueService.NonExistentQueue", 400, DestinationMissing),
        ("com.amazonaws.sqs#QueueDoesNotExist", 400, BrokerError),
        ("AccessDenied", 403, NotPermitted),
        ("ExpiredToken", 403, NotLetIn),
        ("InternalError", 500, BrokerUnavailable),
        ("InvalidMessageContents", 400, BrokerError),
    ],
)
def test_errors_of_aws_mean_what_may_be_done_about_them(code: str, status: int, ours: type[BrokerError]) -> None:
    from botocore.exceptions import ClientError

    answer: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    with pytest.raises(ours) as told, mapped("publishing"):
        raise ClientError(answer, "SendMessageBatch")
    assert type(told.value) is ours
    assert "publishing: no" in str(told.value)


def test_what_was_never_sent_is_told_apart_from_what_may_be_stored() -> None:
    from aiohttp import ClientConnectorError, ClientOSError
    from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

    unconnected: Any = ClientConnectorError.__new__(ClientConnectorError)
    for first, then, certain in (
        (unconnected, EndpointConnectionError(endpoint_url="http://x"), True),
        (ClientOSError(104, "reset by peer"), EndpointConnectionError(endpoint_url="http://x"), False),
        (TimeoutError(), ReadTimeoutError(endpoint_url="http://x"), False),
    ):
        then.__context__ = first  # as the library raises it
        with pytest.raises(BrokerUnavailable) as told, mapped("publishing"):
            raise then
        assert isinstance(told.value, NotTaken) is certain


def test_an_entry_that_failed_is_tried_again_where_that_may_help() -> None:
    assert refusal({"Code": "InternalError", "SenderFault": False, "Message": "later"})[1]
    assert refusal({"Code": "RequestThrottled", "SenderFault": True})[1]
    text, later = refusal({"Code": "InvalidMessageContents", "SenderFault": True, "Message": "no"})
    assert (text, later) == ("no (InvalidMessageContents)", False)
    assert is_lost({"Code": "ReceiptHandleIsInvalid"})
    assert is_lost({"Code": "InvalidParameterValue", "Message": "The receipt handle has expired"})
    assert not is_lost({"Code": "InternalError"})
