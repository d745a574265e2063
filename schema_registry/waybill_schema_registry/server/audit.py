"""One line for each write: who asked for what, and what came of it. The logger is `waybill.registry.audit`."""

from __future__ import annotations

import json
import logging
from typing import Any

from waybill_schema_registry.server.answers import Answer
from waybill_schema_registry.server.asking import Ask
from waybill_schema_registry.server.shapes import Registered

__all__ = ["wrote"]

log = logging.getLogger("waybill.registry.audit")


def wrote(ask: Ask, client: str, answer: Answer, value: Any) -> None:
    """As a JSON object on one line, so that no name can pretend to be a line of its own."""
    line: dict[str, Any] = {
        "user": ask.user.name,
        "from": client,
        "operation": ask.route.name,
        "subject": ask.subject,
        **{name: text for name, text in ask.path.items() if name != "subject"},
        "status": answer.status,
    }
    if answer.code:
        line["error_code"] = answer.code
    if isinstance(value, Registered):
        line |= {"id": value.id, "version": value.version}
    log.info("%s", json.dumps(line))
