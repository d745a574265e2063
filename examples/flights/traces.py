"""The way of one message, as a tree of spans: from the publisher through two handlers in other processes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.tree import Tree

__all__ = ["Span", "drawn", "read_spans", "richest"]

Place = tuple[str, str]
"""A trace, and a span of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span. Times are nanoseconds since 1970."""

    name: str
    service: str
    pid: int
    at: Place
    parent: Place | None
    links: Sequence[Place]
    began: int
    ended: int
    error: str | None = None
    messages: int = 1


def read_spans(folder: Path) -> list[Span]:
    """Those of all processes, in the order they began. A line that a dying process left unfinished is not read."""
    lines = (line for file in folder.glob("*.jsonl") for line in file.read_text().splitlines(keepends=True))
    spans = [_span(json.loads(line)) for line in lines if line.endswith("\n")]
    return sorted(spans, key=lambda span: span.began)


def _span(found: dict[str, Any]) -> Span:
    parent = found.pop("parent")
    at, links = tuple(found.pop("at")), [tuple(link) for link in found.pop("links")]
    return Span(at=at, parent=None if parent is None else tuple(parent), links=links, **found)


def richest(spans: Iterable[Span]) -> list[Span]:
    """The trace with the most to see: the one whose message failed once, was handled, and led to another, if there is one."""
    traces: dict[str, list[Span]] = {}
    for span in spans:
        traces.setdefault(span.at[0], []).append(span)
    whole = [trace for trace in traces.values() if any(span.parent is None for span in trace)]
    return max(
        whole, key=lambda trace: (len({(span.name, span.error) for span in trace}), len(trace)), default=list[Span]()
    )


def drawn(trace: Sequence[Span]) -> Tree:
    """The spans beneath those that caused them, with the time since the first began, and how long each took."""
    first = trace[0]
    known = {span.at for span in trace}
    tree = Tree(f"trace {first.at[0]}")
    branches: dict[Place, Tree] = {}
    for span in trace:  # a parent has begun before its children
        above = branches.get(span.parent, tree) if span.parent in known else tree
        branches[span.at] = above.add(_told(span, first.began))
    return tree


def _told(span: Span, start: int) -> str:
    after, took = (span.began - start) / 1e9, (span.ended - span.began) / 1e6
    others = f" with {span.messages - 1} others" if span.messages > 1 else ""
    wrong = f"  [red]{span.error.rpartition('.')[2]}[/red]" if span.error else ""
    return f"[bold]{span.name}[/bold]{others}{wrong}  {span.service} {span.pid}  +{after:.3f} s  {took:.1f} ms"
