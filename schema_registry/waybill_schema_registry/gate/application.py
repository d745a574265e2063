"""Contracts that are written down as models: each topic of an application whose codec is Avro."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from waybill.codec import TombstoneCodec
from waybill.topic import Topic
from waybill_schema_registry.codec.avro import AvroCodec
from waybill_schema_registry.gate.contract import Contract, Source

__all__ = ["from_application", "from_topics", "is_installed", "modules_below"]


def from_application(reference: str) -> list[Contract]:
    """reference: `module:app`; the working directory is searched first. Raises `ConfigurationError`."""
    from waybill.cli.application import known_topics, load_app  # noqa: PLC0415 - typer is only needed by then

    return list(from_topics(known_topics(load_app(reference), reference).values()))


def from_topics(topics: Iterable[Topic[Any]]) -> Iterator[Contract]:
    """Those that have a schema. The others have none that could break."""
    for topic in topics:
        codec = topic.codec.inner if isinstance(topic.codec, TombstoneCodec) else topic.codec
        if isinstance(codec, AvroCodec):
            yield Contract(subject=codec.subject, text=codec.schema.text, source=_source(topic))


def _source(topic: Topic[Any]) -> Source:
    """Where its payload is defined; without a place where that is not known, as of a type made at run time."""
    what = f"{getattr(topic.payload, '__name__', topic.payload)} of topic {topic.name}"
    try:
        file = inspect.getsourcefile(topic.payload)
        line = inspect.getsourcelines(topic.payload)[1]
    except (OSError, TypeError, IndexError):
        return Source(what)
    return Source(what, _relative(file or ""), max(line, 1))


def _relative(file: str) -> str:
    path = Path(file).resolve()
    here = Path.cwd().resolve()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else path.as_posix()


def modules_below(folder: Path) -> list[Path]:
    """The files of the modules that are loaded from a folder, but those of installed packages in it and our own."""
    named = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    files = [Path(file) for name, file in named.items() if isinstance(file, str) and not name.startswith("waybill")]
    return sorted(file for file in files if file.is_relative_to(folder) and not is_installed(file))


def is_installed(path: Path) -> bool:
    """Whether it belongs to the interpreter or to the packages that are installed for it, wherever these are."""
    return "site-packages" in path.parts or any(
        path.is_relative_to(prefix) for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix}
    )
