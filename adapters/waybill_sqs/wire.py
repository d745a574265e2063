"""SQS's JSON, written and read as it is: names and values on the wire are those of the API.

The library walks through its model of each structure for that, value by value, which costs more than all else that it does to
ten messages. Whatever is not plain (errors, binary attributes, calls that are rare) is left to it. See docs/adr/0033.
"""

from __future__ import annotations

from typing import Any

import aiobotocore.parsers  # pyright: ignore[reportMissingTypeStubs]
import msgspec

__all__ = ["Parsers", "write_plainly"]

library: Any = aiobotocore.parsers
CALLS = ("ReceiveMessage", "SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")
PLAIN = frozenset(f"{call}Result" for call in CALLS)
BINARY = b'"BinaryValue"'
NOTHING: dict[str, Any] = {}
ASIDE = "waybill"
_read = msgspec.json.Decoder(dict[str, Any]).decode
_write = msgspec.json.Encoder().encode


def write_plainly(client: Any) -> None:
    """Have a client of SQS write its calls so: what is given is set aside before it is written, and put in its place."""
    for call in CALLS:
        client.meta.events.register(f"provide-client-params.sqs.{call}", _set_aside)
        client.meta.events.register(f"before-call.sqs.{call}", _put_in)


def _set_aside(params: dict[str, Any], context: dict[str, Any], **_: object) -> dict[str, Any]:
    context[ASIDE] = params
    return NOTHING


def _put_in(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    params["body"] = _write(context.pop(ASIDE))


class PlainParser(library.AioJSONParser):  # type: ignore[misc]
    """Reads answers of SQS."""

    async def parse(self, response: dict[str, Any], shape: Any) -> Any:
        body: bytes = response["body"]
        if response["status_code"] == 200 and shape is not None and shape.name in PLAIN and BINARY not in body:
            try:
                told = _read(body)
            except msgspec.MsgspecError:
                pass  # whatever the library makes of it
            else:
                told["ResponseMetadata"] = {
                    "HTTPStatusCode": 200,
                    "RequestId": response["headers"].get("x-amzn-requestid"),
                }
                return told
        return await library.AioJSONParser.parse(self, response, shape)


class Parsers(library.AioResponseParserFactory):  # type: ignore[misc]
    """A session's parsers, with ours for JSON."""

    plain = PlainParser()

    def create_parser(self, protocol_name: str) -> Any:
        return self.plain if protocol_name == "json" else library.create_parser(protocol_name)
