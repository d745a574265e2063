"""Calls and answers as botocore reads and writes them: SQS by JSON, SNS by the query protocol with XML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from tests.brokers.strict.call import Call
from tests.brokers.strict.refusing import Refusal

JSON = "application/x-amz-json-1.0"
NAMESPACE = "http://sns.amazonaws.com/doc/2010-03-31/"
REQUEST = "00000000-0000-0000-0000-000000000000"
UNMODELED = {"InvalidParameterValue", "MissingParameter", "ThrottlingException", "ServiceUnavailable", "InternalError"}
"""Codes that SQS's JSON protocol knows by the names of AWS's common errors."""


class Unclear(Exception):
    """A request that is no call of SQS or SNS as botocore sends it."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def read(headers: Mapping[str, str], body: bytes) -> Call:
    """The call of a request. Raises Unclear."""
    if target := headers.get("X-Amz-Target", ""):
        if not target.startswith("AmazonSQS."):
            raise Unclear(f"X-Amz-Target is {target}: only SQS is called so here.")
        return Call("sqs", target.removeprefix("AmazonSQS."), json.loads(body or b"{}"), body)
    parameters = nested(dict(parse_qsl(body.decode(), keep_blank_values=True)))
    if "/sns/" not in headers.get("Authorization", "") or "Action" not in parameters:
        raise Unclear("It is neither SQS's JSON protocol nor SNS's query protocol: older clients are not understood.")
    return Call("sns", parameters.pop("Action"), parameters, body)


def write(call: Call) -> bytes:
    """The body of a request for this call."""
    if call.raw is not None:
        return call.raw
    if call.service == "sqs":
        return json.dumps(call.parameters).encode()
    return urlencode([("Action", call.action), *flat(call.parameters)]).encode()


def nested(pairs: Mapping[str, str]) -> dict[str, Any]:
    """`A.member.1.Id` and the like as lists of mappings; `B.entry.1.Name` (or `key`) and `…Value` as mappings."""
    found: dict[str, Any] = {}
    for path, value in pairs.items():
        *steps, last = path.split(".")
        here = found
        for step in steps:
            here = here.setdefault(step, {})
        here[last] = value
    folded: dict[str, Any] = folding(found)
    return folded


def folding(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {key: folding(inner) for key, inner in value.items()}
    if set(found) == {"member"}:
        return [found["member"][number] for number in sorted(found["member"], key=int)]
    if set(found) == {"entry"}:
        entries = found["entry"].values()
        return {one.get("Name", one.get("key")): one.get("Value", one.get("value")) for one in entries}
    return found


def flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    """The opposite of `nested`."""
    if isinstance(value, list):
        return [pair for number, one in enumerate(value, 1) for pair in flat(one, f"{path}.member.{number}")]
    if not isinstance(value, dict):
        return [(path, str(value))]
    if path.rpartition(".")[2] in {"MessageAttributes", "Attributes"}:
        name, content = ("Name", "Value") if path.endswith("MessageAttributes") else ("key", "value")
        rows = [{name: key, content: inner} for key, inner in value.items()]
        return [pair for number, one in enumerate(rows, 1) for pair in flat(one, f"{path}.entry.{number}")]
    return [pair for key, inner in value.items() for pair in flat(inner, f"{path}.{key}".lstrip("."))]


def refused(call: Call, refusal: Refusal) -> Answer:
    """The answer to a call that fails."""
    fault = "Sender" if refusal.sender else "Receiver"
    if call.service == "sns":
        error = f"<Type>{fault}</Type><Code>{refusal.code}</Code><Message>{escape(printable(refusal.text))}</Message>"
        return xml(f"<ErrorResponse xmlns='{NAMESPACE}'><Error>{error}</Error><RequestId>{REQUEST}</RequestId></ErrorResponse>",
                   refusal.status)  # fmt: skip
    name = refusal.code.rpartition(".")[2]
    kind = f"com.amazon.coral.service#{name}" if name in UNMODELED else f"com.amazonaws.sqs#{name}"
    body = json.dumps({"__type": kind, "message": refusal.text}).encode()
    headers = {"Content-Type": JSON, "x-amzn-query-error": f"{refusal.code};{fault}", "x-amzn-RequestId": REQUEST}
    return Answer(refusal.status, body, headers)


def done(call: Call) -> Answer:
    """The answer to a call that is said to be done, though nothing was."""
    if call.service == "sqs":
        return Answer(200, b"{}", {"Content-Type": JSON})
    result = members({"MessageId": REQUEST, "SequenceNumber": "1"})
    return response(call.action, result)


def merged(call: Call, answer: Answer, ignored: frozenset[str], failed: Mapping[str, Refusal]) -> Answer:
    """The answer to a batch of which some entries were never passed on."""
    results = {"Successful": successful(call, answer), "Failed": list(failures(call, answer))}
    results["Successful"] += [
        {"Id": name, **({"MessageId": REQUEST} if call.service == "sns" else {})} for name in ignored
    ]
    results["Failed"] += [
        {"Id": name, "Code": one.code, "Message": printable(one.text), "SenderFault": one.sender}
        for name, one in failed.items()
    ]
    if call.service == "sqs":
        return Answer(200, json.dumps({kind: rows for kind, rows in results.items() if rows}).encode(), answer.headers)
    lists = (
        f"<{kind}>{''.join(f'<member>{members(row)}</member>' for row in rows)}</{kind}>"
        for kind, rows in results.items()
    )
    return response(call.action, "".join(lists))


def successful(call: Call, answer: Answer) -> list[dict[str, Any]]:
    """The entries that a batch's answer says were done."""
    return rows(call, answer, "Successful")


def failures(call: Call, answer: Answer) -> list[dict[str, Any]]:
    return rows(call, answer, "Failed")


def rows(call: Call, answer: Answer, kind: str) -> list[dict[str, Any]]:
    if not answer.body:
        return []
    if call.service == "sqs":
        found: list[dict[str, Any]] = json.loads(answer.body).get(kind) or []
        return found
    return [
        {tag(field): field.text or "" for field in member}
        for one in ET.fromstring(answer.body).iter()
        if tag(one) == kind
        for member in one
    ]


def texts(answer: Answer, name: str) -> list[str]:
    """What is in each element of this name of an XML answer."""
    return [one.text or "" for one in ET.fromstring(answer.body).iter() if tag(one) == name]


def tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def members(row: Mapping[str, Any]) -> str:
    shown = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in row.items()}
    return "".join(f"<{key}>{escape(value)}</{key}>" for key, value in shown.items())


def response(action: str, result: str) -> Answer:
    metadata = f"<ResponseMetadata><RequestId>{REQUEST}</RequestId></ResponseMetadata>"
    return xml(
        f"<{action}Response xmlns='{NAMESPACE}'><{action}Result>{result}</{action}Result>{metadata}</{action}Response>"
    )


def xml(text: str, status: int = 200) -> Answer:
    return Answer(status, text.encode(), {"Content-Type": "text/xml"})


def printable(text: str) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", text)
