"""`waybill explain`: what will happen to the messages of an application, before anything starts."""

from __future__ import annotations

from waybill.cli import options
from waybill.cli.application import open_app, reference_of

__all__ = ["explain"]


def explain(
    app: options.App = None,
    url: options.Url = None,
    dev: options.Dev = False,
    as_json: options.Json = False,
) -> None:
    """Say what becomes of the messages of each handler: order, attempts and when, dead letters, leases. Connects to nothing."""
    from waybill.cli.screen import document, line, safe  # noqa: PLC0415 - `waybill --help` need not load it

    application, settings = open_app(reference_of(app, url=url, dev=dev), url=url, dev=dev)
    explained = application.explain()
    if as_json:
        document([{"subscription": e.subscription, "handler": e.handler, "facts": dict(e.facts)} for e in explained])
        return
    from waybill.settings import broker_url, safe_url  # noqa: PLC0415

    line(safe(f"{application.name} on {safe_url(broker_url(settings))}"))
    for one in explained:
        line("")
        line(safe(f"{one.subscription}  ({one.handler})"))
        for what, how in one.facts:
            line(f"    {what:<26} {safe(how)}")
    if not explained:
        line("no handler is registered: this application only publishes")
