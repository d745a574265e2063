"""`waybill explain`: what will happen to the messages of an application, before anything starts."""

from __future__ import annotations

import msgspec

from waybill.cli import options
from waybill.cli.application import bus_of, choose_app
from waybill.course import drawn

__all__ = ["explain"]


def explain(
    app: options.App = None,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """Say what becomes of the messages of each handler: order, attempts and when, dead letters, leases. Connects to nothing."""
    from waybill.cli.screen import document, line, safe  # noqa: PLC0415 - `waybill --help` need not load it

    application = choose_app(app, url=url, dev=dev)
    explained = application.explain()
    if as_json:
        document(
            [
                {
                    "subscription": one.subscription,
                    "handler": one.handler,
                    "facts": dict(one.facts),
                    "timeline": [msgspec.structs.asdict(step) for step in one.course],
                }
                for one in explained
            ]
        )
        return
    line(safe(f"{application.name} on {bus_of(application.settings)}"))
    for one in explained:
        line("")
        line(safe(f"{one.subscription}  ({one.handler})"))
        for what, how in one.facts:
            line(f"    {what:<26} {safe(how)}")
        line("")
        for step in drawn(one.course):
            line(f"    {step}")
    if not explained:
        line("no handler is registered: this application only publishes")
