"""`waybill adr`: decisions about an application, recorded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias
from urllib.parse import urlsplit

import typer

from waybill.cli import options
from waybill.cli.application import known_topics, load_app, reference_of
from waybill.cli.letters import duration
from waybill.errors import AdapterNotFound, ConfigurationError

if TYPE_CHECKING:
    from waybill.app import App
    from waybill.needs import Asked, Load
    from waybill.weighing import Option

__all__ = ["group"]

group = typer.Typer(help="Decision records, made from an application's code.", no_args_is_help=True)

CANDIDATES = ("sqlite:///waybill.db", "amqp://localhost", "kafka://localhost:9092", "sqs://us-east-1")
"""A URL of each of our brokers: none is connected to."""
Rate: TypeAlias = Annotated[
    float | None, typer.Option("--rate", metavar="N", min=0, help="Messages a second, published to each topic.")
]
Size: TypeAlias = Annotated[int | None, typer.Option("--size", metavar="BYTES", min=1, help="Of a usual message.")]
Largest: TypeAlias = Annotated[
    int | None, typer.Option("--largest", metavar="BYTES", min=1, help="Of the largest one.")
]
Delay: TypeAlias = Annotated[
    str | None, typer.Option("--delay", metavar="AGE", help="The longest delay of a publish: 90s, 5m, 2h, 3d.")
]
Machines: TypeAlias = Annotated[
    int | None,
    typer.Option("--machines", metavar="N", min=1, help="On how many the application and its publishers run."),
]
Consider: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--consider", metavar="URL", help="Another broker that an adapter is installed for. May be repeated."),
]
Decide: TypeAlias = Annotated[
    str | None,
    typer.Option("--decide", metavar="NAME", help="Record this choice: embedded, rabbitmq, kafka, sqs, or another's."),
]
Because: TypeAlias = Annotated[str | None, typer.Option("--because", metavar="TEXT", help="Why, in your words.")]
Price: TypeAlias = Annotated[
    float | None, typer.Option("--price", metavar="AMOUNT", min=0, help="Of a million calls, where calls cost money.")
]
Out: TypeAlias = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it there: a new file.")]
Date: TypeAlias = Annotated[str | None, typer.Option("--date", metavar="DATE", help="As YYYY-MM-DD; else today.")]


@group.callback()
def records() -> None:
    """Decision records, made from an application's code."""


@group.command(
    "broker",
    epilog="Example: waybill adr broker --app service:app --rate 200 --size 2000\n\n"
    "Example: waybill adr broker --app service:app --decide kafka --out docs/adr/0007-broker.md\n\n"
    "Exit codes: 0 written, 2 wrong use.",
)
def broker(  # noqa: PLR0917 - typer calls it by name
    app: options.App = None,
    rate: Rate = None,
    size: Size = None,
    largest: Largest = None,
    delay: Delay = None,
    machines: Machines = None,
    consider: Consider = None,
    decide: Decide = None,
    because: Because = None,
    price: Price = None,
    date: Date = None,
    out: Out = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    as_json: options.Json = False,
) -> None:
    """Weigh the brokers against what the application asks for, and write the decision record (MADR).

    What its topics and handlers need follows from the code: order, groups, history, retries and so on; what code cannot
    tell are the options. Each broker is taken as its adapter claims to be, with what the contracts have shown. Connects to
    nothing, and decides nothing unless told to by --decide.
    """
    from waybill.deciding import Decision, record  # noqa: PLC0415 - `waybill --help` need not load it
    from waybill.needs import Load, asked  # noqa: PLC0415

    reference = reference_of(app, url=None, dev=False)
    wait = duration("--delay", delay)
    seconds = None if wait is None else wait.total_seconds()
    load = Load(rate=rate, size=size, largest=largest, delay=seconds, machines=machines)
    question = _asked(load_app(reference), reference, load)
    needs = asked(question)
    weighed, absent = _weigh(question, [*CANDIDATES, *(consider or ())])
    decision = Decision(date=_day(date), reference=reference, chosen=decide, because=because, price=price)
    text = record(question, needs, weighed, absent, decision)
    _write(text, out, force=force)
    if as_json:
        _document(weighed, decide)
    elif out is None:
        typer.echo(text, nl=False)


def _asked(app: App, reference: str, load: Load) -> Asked:
    """With the topics that its code knows, also those it only publishes to."""
    from waybill.needs import Asked  # noqa: PLC0415
    from waybill.topology import Topology  # noqa: PLC0415

    topics = {topic.name: topic for topic in app.topology.topics}
    subscriptions = {one.name: one for one in app.topology.subscriptions}
    for topic in known_topics(app, reference).values():
        topics.setdefault(topic.name, topic.spec)
        for declared in topic.subscriptions():
            subscriptions.setdefault(declared.name, declared)
    if not topics and not app.registrations:
        raise ConfigurationError(f"{reference} names no topic, so it asks nothing of a broker: consume or publish one")
    return Asked(app.name, Topology(list(topics.values()), list(subscriptions.values())), app.registrations, load)


def _weigh(question: Asked, urls: Sequence[str]) -> tuple[list[Option], dict[str, str]]:
    from waybill.clock import SystemClock  # noqa: PLC0415
    from waybill.loading import AdapterContext, open_adapter  # noqa: PLC0415
    from waybill.needs import asked  # noqa: PLC0415
    from waybill.weighing import weigh  # noqa: PLC0415

    needs, weighed, absent = asked(question), list["Option"](), dict[str, str]()
    for url in urls:
        context = AdapterContext(application=question.application, clock=SystemClock(), options={})
        try:
            adapter = open_adapter(url, context)
        except AdapterNotFound as error:
            if url not in CANDIDATES:
                raise
            # What else is installed is no part of the record.
            absent[urlsplit(url).scheme] = str(error).partition(". Installed are")[0]
        else:
            weighed.append(weigh(_name(adapter), adapter, question, needs))
    return weighed, absent


def _name(adapter: object) -> str:
    """As in `[broker.…]`: the adapter's package, without `waybill_`."""
    return type(adapter).__module__.partition(".")[0].removeprefix("waybill_")


def _day(text: str | None) -> str:
    if text is None:
        return datetime.now(UTC).date().isoformat()
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date().isoformat()
    except ValueError:
        raise ConfigurationError(f"--date {text!r}: write it as YYYY-MM-DD") from None


def _write(text: str, out: Path | None, *, force: bool) -> None:
    if out is None:
        return
    if os.path.lexists(out) and not force:
        raise ConfigurationError(f"{out}: there is such a file. Name a new one, or replace it with --force")
    try:
        out.write_text(text)
    except OSError as error:
        raise ConfigurationError(f"--out {out} cannot be written: {error.strerror}") from error
    from waybill.cli.screen import tell  # noqa: PLC0415 - `waybill --help` need not load it

    tell(f"{out} written")


def _document(weighed: Sequence[Option], decided: str | None) -> None:
    from waybill.cli.screen import document  # noqa: PLC0415 - `waybill --help` need not load it

    document([_row(option, decided) for option in weighed])


def _row(option: Option, decided: str | None) -> dict[str, Any]:
    return {
        "name": option.name,
        "broker": option.broker,
        "fits": option.fits,
        "chosen": option.name == decided,
        "gaps": list(option.gaps),
        "served": [
            {"need": one.need.ability, "by": one.need.by, "how": one.ability.how, "words": one.ability.words,
             "evidence": one.evidence}
            for one in option.served
        ],
        "calls": [{"what": c.what, "per_million": c.per_million, "idle_per_day": c.idle_per_day} for c in option.calls],
    }  # fmt: skip
