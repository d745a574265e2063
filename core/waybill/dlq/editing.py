"""A mended copy of one dead letter: a new id, which names the letter's, and another body or other headers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from waybill.deadletters import again
from waybill.dlq.model import OWNED, Key, Letter, Query
from waybill.dlq.operation import Operation, Orders
from waybill.dlq.operations import Operations
from waybill.errors import ConfigurationError
from waybill.headers import check_headers
from waybill.ids import new_id
from waybill.topology import Subscription

__all__ = ["edit"]


def edit(
    operations: Operations,
    subscription: Subscription,
    ident: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    by: str,
    why: str,
) -> Operation:
    """An operation that sends a mended copy of the letter `ident` to its group, once `running.run` carries it out.

    body, headers: instead of the letter's; `None`: as they are. Everything else stays: key, type, times, correlation; but a copy of
    one that has expired does not expire.
    Raises `ConfigurationError` when there is no such letter any more, another operation has claimed it, or nothing is changed.
    """
    index, key = operations.index, Key(subscription.topic.name, subscription.group, ident)
    message, letter = index.message(key), index.get(key)
    if message is None or letter is None:
        raise ConfigurationError(f"{subscription.name} has no dead letter {ident} in the index: collect them first")
    if (body is None or body == message.body) and (headers is None or dict(headers) == dict(message.headers)):
        raise ConfigurationError(f"{ident}: nothing is changed: give another body or other headers, or redrive it")
    copy = msgspec.structs.replace(
        message,
        id=new_id(),
        edit_of=ident,
        body=message.body if body is None else body,
        headers=message.headers if headers is None else check_headers(headers),
    )
    with operations.at_once():
        operation = operations.begin("edit", subscription, Query(ids=(ident,)), Orders(force=True), by=by, why=why)
        if not operations.claim(operation, [letter]):
            raise ConfigurationError(f"{ident}: {_why_not(index.get(key) or letter)}")
        operations.edited(operation, message, again(copy, operation.id, late=datetime.now(UTC)))
        return operations.advance(operation, "running")


def _why_not(letter: Letter) -> str:
    """Why no operation can claim it, and what to do."""
    if letter.state in OWNED:
        return "another operation has claimed it: see `waybill dlq operations`"
    if letter.gone is not None:
        return (
            f"it is {letter.state}, and the broker had it no more at the last look: `waybill dlq import` can bring an exported "
            f"letter back"
        )
    return f"it is {letter.state}: `waybill dlq reopen {letter.key.id}` first"
