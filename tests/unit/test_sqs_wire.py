"""What is written, read and signed beside the AWS library is what the library makes of the same."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import botocore.auth
import botocore.session
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from waybill_sqs.signing import Signer
from waybill_sqs.wire import Parsers, write_plainly

MODEL = botocore.session.get_session().get_service_model("sqs")
MESSAGE = {
    "MessageId": "m-1",
    "ReceiptHandle": "r-1",
    "Body": 'a "text" of two\nlines, ☃',
    "Attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1700000000000"},
    "MessageAttributes": {"waybill": {"DataType": "String", "StringValue": "{}"}},
}
BINARY = {"MessageAttributes": {"picture": {"DataType": "Binary", "BinaryValue": "AAEC"}}}


async def parsed(parsers: Any, call: str, body: str, status: int = 200) -> dict[str, Any]:
    response = {"status_code": status, "headers": {"x-amzn-requestid": "q-1"}, "body": body.encode(), "context": {}}
    found = await parsers.create_parser("json").parse(response, MODEL.operation_model(call).output_shape)
    found["ResponseMetadata"].pop("HTTPHeaders", None)
    return found


@pytest.mark.parametrize(
    ("call", "body", "status"),
    [
        ("ReceiveMessage", json.dumps({"Messages": [MESSAGE, MESSAGE | BINARY]}), 200),
        ("ReceiveMessage", json.dumps({"Messages": [MESSAGE, MESSAGE]}, ensure_ascii=False), 200),
        ("ReceiveMessage", "{}", 200),
        ("ReceiveMessage", "", 200),
        ("ReceiveMessage", '{"Messages": [{"Body": "\\ud800"}]}', 200),
        ("DeleteMessageBatch", '{"Successful": [{"Id": "0"}], "Failed": [{"Id": "1", "SenderFault": true}]}', 200),
        ("DeleteMessageBatch", '{"__type": "com.amazonaws.sqs#OverLimit", "message": "too many"}', 400),
        ("GetQueueUrl", '{"QueueUrl": "https://sqs/1/q"}', 200),
    ],
)
async def test_an_answer_is_read_as_the_library_reads_it(call: str, body: str, status: int) -> None:
    from aiobotocore.parsers import AioResponseParserFactory

    assert await parsed(Parsers(), call, body, status) == await parsed(AioResponseParserFactory(), call, body, status)


def test_a_call_is_written_as_it_was_given() -> None:
    hooks: dict[str, Any] = {}
    write_plainly(SimpleNamespace(meta=SimpleNamespace(events=SimpleNamespace(register=hooks.__setitem__))))
    given = {"QueueUrl": "https://sqs/1/q", "Entries": [{"Id": "0", "MessageBody": 'a "text", ☃', "DelaySeconds": 3}]}
    context: dict[str, Any] = {"client_region": "eu-west-1"}
    assert hooks["provide-client-params.sqs.SendMessageBatch"](params=given, model=None, context=context) == {}
    request = {"body": b"{}"}
    hooks["before-call.sqs.SendMessageBatch"](params=request, model=None, context=context)
    assert json.loads(request["body"]) == given
    assert context == {"client_region": "eu-west-1"}


class Frozen:
    """A clock for both signers."""

    @classmethod
    def now(cls, zone: Any = None) -> Any:
        from datetime import UTC, datetime

        return datetime(2026, 11, 21, 23, 59, 59, tzinfo=zone or UTC)


@pytest.mark.parametrize("token", [None, "a-token"])
@pytest.mark.parametrize(
    "url",
    ["https://sqs.eu-west-1.amazonaws.com/", "http://127.0.0.1:9324", "https://host:443/", "https://host/a%20b?c=d"],
)
@pytest.mark.parametrize(
    "headers",
    [{}, {"X-Amz-Date": "20200101T000000Z", "Authorization": "of before"}, {"User-Agent": "us", "X-B": " a  b "}],
)
def test_a_call_is_signed_as_the_library_signs_it(
    monkeypatch: pytest.MonkeyPatch, token: str | None, url: str, headers: dict[str, str]
) -> None:
    monkeypatch.setattr("waybill_sqs.signing.datetime", Frozen)
    monkeypatch.setattr("botocore.auth.get_current_datetime", Frozen.now)
    credentials = ReadOnlyCredentials("AKID", "secret", token)
    given = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.SendMessageBatch"} | headers
    signed: list[dict[str, str]] = []
    for signer in (Signer, botocore.auth.SigV4Auth):
        request = AWSRequest(method="POST", url=url, headers=dict(given), data=b'{"QueueUrl": "q"}')
        signer(credentials, "sqs", "eu-west-1").add_auth(request)
        signed.append(dict(request.headers.items()))
    assert signed[0] == signed[1]
    assert len(signed[0]["Authorization"]) > 150
