"""The emulators behind the strict proxy, by plain aiobotocore: they refuse as AWS does, and fail as they are told to."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any

import aioboto3
import pytest
from aiobotocore.config import AioConfig
from botocore.exceptions import ClientError, HTTPClientError

from tests.brokers.strict import Faults, Strict

ONCE = AioConfig(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=10)
NAMES = {"MessageAttributeNames": ["All"], "MessageSystemAttributeNames": ["All"]}


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.broker(name)) for name in ("sqs", "sns")])
def front(request: pytest.FixtureRequest) -> Strict:
    """SQS of ElasticMQ, and SQS of moto."""
    found: Strict = request.getfixturevalue(f"strict_{request.param}")
    return found


def client(service: str, front: Strict) -> Any:
    session = aioboto3.Session("key", "secret", region_name="us-east-1")
    return session.client(service, endpoint_url=front.url, config=ONCE)


async def queue(sqs: Any, suffix: str = "", **attributes: str) -> str:
    attributes |= {"FifoQueue": "true"} if suffix else {}
    made = await sqs.create_queue(QueueName=f"strict-{uuid.uuid4().hex[:12]}{suffix}", Attributes=attributes)
    url: str = made["QueueUrl"]
    return url


async def receive(sqs: Any, url: str, **options: Any) -> list[dict[str, Any]]:
    """What is there; within 5 s, something has to be."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        answer = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, **NAMES, **options)
        if messages := answer.get("Messages"):
            return list(messages)
    raise AssertionError("nothing was received")


def error(raised: pytest.ExceptionInfo[ClientError]) -> tuple[str, str, int]:
    response: Any = raised.value.response
    return response["Error"]["Code"], response["Error"]["Message"], response["ResponseMetadata"]["HTTPStatusCode"]


def entries(*bodies: str, **more: Any) -> list[dict[str, Any]]:
    return [{"Id": str(number), "MessageBody": body, **more} for number, body in enumerate(bodies)]


def attributes(count: int) -> dict[str, Any]:
    return {f"a{number}": {"DataType": "String", "StringValue": "v"} for number in range(count)}


async def test_a_message_goes_through_with_all_that_it_has(front: Strict) -> None:
    async with client("sqs", front) as sqs:
        url = await queue(sqs)
        await sqs.send_message(QueueUrl=url, MessageBody="é 𝄞", MessageAttributes=attributes(10))
        (message,) = await receive(sqs, url)
        assert (message["Body"], len(message["MessageAttributes"])) == ("é 𝄞", 10)
        await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


async def test_a_message_is_refused_with_the_error_that_aws_has(front: Strict) -> None:
    async with client("sqs", front) as sqs:
        url = await queue(sqs)
        with pytest.raises(sqs.exceptions.InvalidMessageContents):
            await sqs.send_message(QueueUrl=url, MessageBody="\x00")
        with pytest.raises(ClientError) as raised:
            await sqs.send_message(QueueUrl=url, MessageBody="m", MessageAttributes=attributes(11))
        text = "Number of message attributes [11] exceeds the allowed maximum [10]."
        assert error(raised) == ("InvalidParameterValue", text, 400)
        with pytest.raises(sqs.exceptions.BatchEntryIdsNotDistinct) as twice:
            await sqs.send_message_batch(QueueUrl=url, Entries=[*entries("a"), *entries("b")])
        assert error(twice)[0] == "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"


async def test_a_bad_entry_takes_no_other_down(front: Strict) -> None:
    async with client("sqs", front) as sqs:
        url = await queue(sqs)
        answer = await sqs.send_message_batch(QueueUrl=url, Entries=entries("a", "\x00", "c"))
        assert [row["Id"] for row in answer["Successful"]] == ["0", "2"]
        (failed,) = answer["Failed"]
        assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("1", "InvalidMessageContents", True)
        assert "MessageId" in answer["Successful"][0]
        only_bad = await sqs.send_message_batch(QueueUrl=url, Entries=entries("\x00"))
        assert "Successful" not in only_bad
        assert sorted(message["Body"] for message in await receive(sqs, url)) == ["a", "c"]


async def test_an_old_handle_deletes_nothing_on_a_standard_queue(front: Strict) -> None:
    async with client("sqs", front) as sqs:
        url = await queue(sqs)
        await sqs.send_message(QueueUrl=url, MessageBody="m")
        (old,) = await receive(sqs, url, VisibilityTimeout=1)
        (new,) = await receive(sqs, url, VisibilityTimeout=60)
        with pytest.raises(ClientError) as raised:
            await sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=old["ReceiptHandle"], VisibilityTimeout=60)
        assert "not available for visibility timeout change" in error(raised)[1]
        await sqs.delete_message(QueueUrl=url, ReceiptHandle=old["ReceiptHandle"])
        batch = [{"Id": "a", "ReceiptHandle": old["ReceiptHandle"]}]
        assert (await sqs.delete_message_batch(QueueUrl=url, Entries=batch))["Successful"] == [{"Id": "a"}]
        await sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=new["ReceiptHandle"], VisibilityTimeout=0)
        assert [message["Body"] for message in await receive(sqs, url)] == ["m"]


async def test_a_handle_whose_time_has_ended_deletes_nothing_on_fifo(front: Strict) -> None:
    async with client("sqs", front) as sqs:
        url = await queue(sqs, ".fifo")
        with pytest.raises(ClientError) as raised:
            await sqs.send_message(QueueUrl=url, MessageBody="m", MessageDeduplicationId="d")
        assert error(raised)[:2] == ("MissingParameter", "The request must contain the parameter MessageGroupId.")
        await sqs.send_message(QueueUrl=url, MessageBody="m", MessageGroupId="g", MessageDeduplicationId="d")
        (message,) = await receive(sqs, url, VisibilityTimeout=60)
        handle = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
        await sqs.change_message_visibility(**handle, VisibilityTimeout=0)
        with pytest.raises(ClientError) as expired:
            await sqs.delete_message(**handle)
        assert error(expired)[1].endswith("Reason: The receipt handle has expired.")
        with pytest.raises(sqs.exceptions.MessageNotInflight):
            await sqs.change_message_visibility(**handle, VisibilityTimeout=60)
        assert [one["Body"] for one in await receive(sqs, url)] == ["m"]


async def test_twelve_hours_are_the_most(front: Strict) -> None:
    async with client("sqs", front) as sqs:
        url = await queue(sqs)
        await sqs.send_message(QueueUrl=url, MessageBody="m")
        (message,) = await receive(sqs, url)
        one = {"Id": "a", "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 43200}
        answer = await sqs.change_message_visibility_batch(QueueUrl=url, Entries=[one])
        assert "beyond the limit [43200 seconds]" in answer["Failed"][0]["Message"]
        with pytest.raises(sqs.exceptions.ReceiptHandleIsInvalid):
            await sqs.change_message_visibility(QueueUrl=url, ReceiptHandle="x", VisibilityTimeout=1)


async def test_failed_entries_are_not_carried_out_and_the_others_are(front: Strict) -> None:
    async with client("sqs", front) as sqs:
        url = await queue(sqs)
        front.inject(Faults(seed=1, failed=0.5, sender=0.5))
        answers = [await sqs.send_message_batch(QueueUrl=url, Entries=entries(*map(str, range(10)))) for _ in range(4)]
        front.inject(Faults())
        done = [row["Id"] for answer in answers for row in answer.get("Successful", [])]
        failed = [row for answer in answers for row in answer.get("Failed", [])]
        assert len(done) + len(failed) == 40
        assert {row["SenderFault"] for row in failed} == {True, False}
        kept: list[str] = []
        while len(kept) < len(done):
            kept += [message["Body"] for message in await receive(sqs, url)]
        assert sorted(kept) == sorted(done)


@pytest.mark.parametrize(
    ("faults", "codes"),
    [
        (Faults(errors=1), {"InternalError", "ServiceUnavailable"}),
        (Faults(throttled=1), {"ThrottlingException", "RequestThrottled"}),
    ],
)
async def test_calls_fail_as_they_do_at_aws(front: Strict, faults: Faults, codes: set[str]) -> None:
    async with client("sqs", front) as sqs:
        url = await queue(sqs)
        front.inject(faults)
        found: set[str] = set()
        for _ in range(10):
            with pytest.raises(ClientError) as raised:
                await sqs.send_message(QueueUrl=url, MessageBody="m")
            found.add(error(raised)[0])
        front.inject(Faults())
        assert found == codes
        answer = await sqs.receive_message(QueueUrl=url)
        assert "Messages" not in answer


async def test_a_cut_answer_leaves_the_message_behind(front: Strict) -> None:
    async with client("sqs", front) as sqs:
        url = await queue(sqs)
        front.inject(Faults(cut=1))
        with pytest.raises(HTTPClientError):
            await sqs.send_message(QueueUrl=url, MessageBody="m")
        front.inject(Faults(slow=1, seconds=0.5))
        began = time.monotonic()
        assert [message["Body"] for message in await receive(sqs, url)] == ["m"]
        assert time.monotonic() - began >= 0.5
        assert front.calls().injected["slow"] >= 1


async def test_an_attempt_on_fifo_brings_again_what_it_has_brought_until_that_is_touched(front: Strict) -> None:
    async with client("sqs", front) as sqs:
        url = await queue(sqs, ".fifo")
        for number in range(4):
            sent = {"MessageBody": str(number), "MessageGroupId": "k", "MessageDeduplicationId": str(number)}
            await sqs.send_message(QueueUrl=url, **sent)
        came, attempt = [], {"ReceiveRequestAttemptId": "first", "VisibilityTimeout": 12}
        for held in (0, 6.5, 6.5):  # the second time is past the first one's end: it was hidden anew
            await asyncio.sleep(held)
            came.append(await receive(sqs, url, **attempt))
        assert came[0] == came[1] == came[2], "it brings something else"
        assert [message["Body"] for message in came[0]] == ["0", "1", "2", "3"]
        other = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, **NAMES)
        assert "Messages" not in other, "another attempt has what the first one holds"
        await sqs.delete_message(QueueUrl=url, ReceiptHandle=came[0][0]["ReceiptHandle"])
        touched = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, **attempt, **NAMES)
        assert "Messages" not in touched, "one of them is deleted, and the others are held"


async def test_calls_and_their_entries_are_counted(front: Strict) -> None:
    async with client("sqs", front) as sqs:
        url = await queue(sqs)
        name = url.rpartition("/")[2]
        front.forget()
        await sqs.send_message_batch(QueueUrl=url, Entries=entries("a", "b", "c"))
        await receive(sqs, url)
        counted = front.calls()
        assert counted.of("SendMessageBatch", target=name) == 1
        assert counted.entries["SendMessageBatch", name] == 3
        assert counted.of() == counted.of(target=name) == 1 + counted.of("ReceiveMessage")


async def fan_out(sns: Any, sqs: Any, **attributes: str) -> tuple[str, str]:
    """A topic and a queue that it delivers to raw."""
    topic = (await sns.create_topic(Name=f"strict-{uuid.uuid4().hex[:12]}"))["TopicArn"]
    url = await queue(sqs)
    await sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=await arn_of(sqs, url),
                        Attributes={"RawMessageDelivery": "true", **attributes})  # fmt: skip
    return topic, url


async def arn_of(sqs: Any, url: str) -> str:
    arn: str = (await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"]))["Attributes"]["QueueArn"]
    return arn


async def test_sns_refuses_as_aws_does_and_passes_the_others_on(strict_sns: Strict) -> None:
    async with client("sns", strict_sns) as sns, client("sqs", strict_sns) as sqs:
        topic, url = await fan_out(sns, sqs)
        empty = {"a": {"DataType": "String", "StringValue": ""}}
        batch = [
            {"Id": "a", "Message": "<a&é>", "MessageAttributes": attributes(2)},
            {"Id": "b", "Message": "b", "MessageAttributes": empty},
        ]
        answer = await sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=batch)
        assert [row["Id"] for row in answer["Successful"]] == ["a"]
        assert [(row["Id"], row["Code"], row["SenderFault"]) for row in answer["Failed"]] == [
            ("b", "ParameterValueInvalid", True)
        ]
        (message,) = await receive(sqs, url)
        assert (message["Body"], len(message["MessageAttributes"])) == ("<a&é>", 2)
        many = [{"Id": str(number), "Message": "m"} for number in range(11)]
        with pytest.raises(sns.exceptions.TooManyEntriesInBatchRequestException):
            await sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=many)
        with pytest.raises(sns.exceptions.InvalidParameterException):
            await sns.publish(TopicArn=topic, Message="x" * 262_145)


async def test_sns_fails_as_it_is_told_to(strict_sns: Strict) -> None:
    async with client("sns", strict_sns) as sns, client("sqs", strict_sns) as sqs:
        topic, url = await fan_out(sns, sqs)
        strict_sns.inject(Faults(seed=3, failed=0.5))
        batch = [{"Id": str(number), "Message": str(number)} for number in range(10)]
        answer = await sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=batch)
        strict_sns.inject(Faults())
        assert answer["Failed"]
        assert {row["SenderFault"] for row in answer["Failed"]} == {False}
        assert sorted(one["Body"] for one in await receive(sqs, url)) == sorted(
            row["Id"] for row in answer["Successful"]
        )
        strict_sns.inject(Faults(throttled=1))
        with pytest.raises(ClientError) as raised:
            await sns.publish(TopicArn=topic, Message="m")
        assert error(raised)[0] in {"ThrottlingException", "RequestThrottled"}


async def test_a_raw_message_with_too_many_attributes_reaches_nobody(strict_sns: Strict) -> None:
    async with client("sns", strict_sns) as sns, client("sqs", strict_sns) as sqs:
        dead = await queue(sqs)
        policy = json.dumps({"deadLetterTargetArn": await arn_of(sqs, dead)})
        topic, url = await fan_out(sns, sqs, RedrivePolicy=policy)
        assert (await sns.publish(TopicArn=topic, Message="lost", MessageAttributes=attributes(11)))["MessageId"]
        await sns.publish(TopicArn=topic, Message="kept", MessageAttributes=attributes(10))
        assert [message["Body"] for message in await receive(sqs, url)] == ["kept"]
        assert [message["Body"] for message in await receive(sqs, dead)] == ["lost"]


async def test_what_is_no_call_is_said_to_be_none(strict_sqs: Strict) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(strict_sqs.url.rpartition(":")[2]))
    body = b"Action=SendMessage&MessageBody=m"
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert b"400" in answer.splitlines()[0]
    assert b"older clients are not understood" in answer
