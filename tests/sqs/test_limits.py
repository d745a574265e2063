"""What AWS would refuse is never asked of it: sizes, ids, attributes and groups, behind a proxy that is as strict."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.brokers.strict import Strict
from waybill import App, CapabilityError, Confirmed, Refused, Settings, Topic
from waybill_sqs import SQS


@pytest.fixture(params=["sqs", "sns"])
def strict(request: pytest.FixtureRequest) -> Strict:
    found: Strict = request.getfixturevalue(f"strict_{request.param}")
    return found


def made(strict: Strict, *, sns: bool, fifo: bool = False) -> tuple[App, Topic[bytes]]:
    kind = SQS(fifo=fifo, direct=not sns, filter_headers=tuple(f"f{n}" for n in range(8)))
    topic = Topic(f"w{uuid4().hex[:10]}", bytes, key=lambda body: str(body[:1]), groups=["group"]).on(kind)
    broker = {"sqs": {"endpoint": strict.url, "wait": 1}}
    return App("group", settings=Settings(url="sqs://us-east-1", broker=broker), topics=[topic]), topic


def is_sns(request: pytest.FixtureRequest) -> bool:
    return "strict_sns" in request.node.fixturenames or "[sns" in request.node.name


@pytest.mark.broker("sqs", "sns")
@pytest.mark.parametrize("fifo", [False, True])
async def test_a_call_is_split_by_bytes_and_what_is_too_large_takes_no_neighbour_down(
    strict: Strict, fifo: bool, request: pytest.FixtureRequest
) -> None:
    sns = is_sns(request)
    app, topic = made(strict, sns=sns, fifo=fifo)
    large = 140_000 if sns else 700_000
    async with app.running(consume=False):
        bodies = [b"%d" % n + bytes([65 + n]) * (large if n % 2 else 10) for n in range(8)] + [b"9" * (1 << 20)]
        results = await app.publish_many(topic, bodies)
    assert [type(result) for result in results] == [Confirmed] * 8 + [Refused], results
    calls = strict.calls()
    action = "PublishBatch" if sns else "SendMessageBatch"
    assert calls.of(action) >= 4, "two of the large ones do not fit one call"
    assert sum(number for (name, _), number in calls.entries.items() if name == action) == 8


@pytest.mark.broker("sqs", "sns")
async def test_ids_headers_and_bodies_may_be_anything(strict: Strict, request: pytest.FixtureRequest) -> None:
    app, topic = made(strict, sns=is_sns(request))
    odd: list[dict[str, Any]] = [
        {"headers": {f"f{n}": "eu" for n in range(8)} | {f"h{n}": str(n) for n in range(40)}},
        {"headers": {"f0": "", "f1": "\ufffe", "f2": "\uffff", "..": "z", "ä b": "c"}},
    ]
    async with app.running(consume=False):
        for given in odd:
            assert isinstance(await app.publish(topic, b"\x00\xff", **given), Confirmed), given
        assert isinstance(await app.publish(topic, b"", key="k"), Confirmed)


@pytest.mark.broker("sqs")
def test_what_a_kind_of_queue_cannot_do_is_refused_before_anything_is_opened(strict_sqs: Strict) -> None:
    def refused(kind: SQS, said: str, **options: Any) -> None:
        topic = Topic(f"w{uuid4().hex[:10]}", str, key=str, groups=["group", "other"][: 2 if kind.direct else 1]).on(
            kind
        )
        app = App("group", settings=Settings(url="sqs://us-east-1", broker={"sqs": {"endpoint": strict_sqs.url}}))
        app.consume(topic, **options)(_nothing)
        with pytest.raises(CapabilityError, match=said):
            app.explain()

    refused(SQS(fifo=False), "fifo=True", ordered=True)
    refused(SQS(fifo=True), "failed message", ordered=True, on_failure="relax")
    refused(SQS(direct=True), r"SQS\(direct=False\)")
    assert not strict_sqs.calls().of()


@pytest.mark.broker("sqs")
async def test_fifo_takes_no_message_without_the_key_that_its_topic_orders_by(strict_sqs: Strict) -> None:
    keyed = Topic(f"w{uuid4().hex[:10]}", str, key=lambda text: text or None, groups=["group"])
    keyless = Topic(f"w{uuid4().hex[:10]}", str, groups=["group"])
    settings = Settings(url=f"sqs://us-east-1?endpoint={strict_sqs.url}&fifo=true&direct=true")
    app = App("group", settings=settings, topics=[keyed, keyless])
    async with app.running(consume=False):
        with_key, without = await app.publish_many(keyed, ["a", ""])
        assert isinstance(with_key, Confirmed)
        assert isinstance(without, Refused)
        assert "no key" in without.reason
        assert isinstance(await app.publish(keyless, "x"), Confirmed)


async def _nothing(_: str) -> None: ...
