"""From `module:attribute` to an application, its settings, its topics and its broker."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from waybill.app import App
from waybill.errors import ConfigurationError
from waybill.topic import Topic

if TYPE_CHECKING:
    from waybill.settings import Settings

__all__ = ["describe_bus", "find_topic", "load_app", "open_app", "reference_of"]


def reference_of(given: str | None, *, url: str | None, dev: bool) -> str:
    """The application's name: as given, else from the settings. Raises `ConfigurationError`, also for the settings."""
    reference = given or _settings(url=url, dev=dev).app
    if not reference:
        raise ConfigurationError(
            "which application? Name it as module:attribute, for instance service:app: on the command line, in "
            "WAYBILL_APP, or as `app` in waybill.toml"
        )
    return reference


def open_app(reference: str, *, url: str | None, dev: bool) -> tuple[App, Settings]:
    """The application and the settings it will run with. What the command line says is stronger than its own settings."""
    settings = _settings(url=url, dev=dev)
    app = load_app(reference)
    if app.settings is not None:
        settings = app.settings.model_copy(update=_given(url=url, dev=dev))
    app.settings = settings
    return app, settings


def _settings(*, url: str | None, dev: bool) -> Settings:
    from waybill.settings import load  # noqa: PLC0415 - pydantic-settings is slow to import

    return load(**_given(url=url, dev=dev))


def _given(*, url: str | None, dev: bool) -> dict[str, Any]:
    return ({} if url is None else {"url": url}) | ({"dev": True} if dev else {})


def describe_bus(app: App, settings: Settings) -> str:
    """Which broker the application runs on, for people; without its password. Raises `ConfigurationError` if none is named."""
    from waybill.settings import broker_url, safe_url  # noqa: PLC0415

    url = broker_url(settings)
    if not settings.url:
        return f"no broker configured: using {url} in the working directory"
    return f"{app.name}: using {safe_url(url)}"


def load_app(reference: str) -> App:
    """Import the application. The working directory is searched first. Raises `ConfigurationError`.

    What the module itself raises, other than a failing import, is not caught: its traceback is what its author needs.
    """
    name, _, attribute = reference.partition(":")
    if not name or not attribute:
        raise ConfigurationError(
            f"{reference!r} names no application: write module:attribute, for instance service:app"
        )
    module = _import(name)
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if isinstance(found, App):
        return found
    apps = [f"{name}:{key}" for key, value in vars(module).items() if isinstance(value, App)]
    what = "does not exist" if found is None else f"is a {type(found).__name__}, not an App"
    hint = f"Found there: {', '.join(apps)}" if apps else f"No App was found in {name}"
    raise ConfigurationError(f"{reference} {what}. {hint}")


def _import(name: str) -> ModuleType:
    directory = os.getcwd()  # noqa: PTH109 - sys.path holds texts
    if directory not in sys.path:
        sys.path.insert(0, directory)
    try:
        return importlib.import_module(name)
    except (ImportError, SyntaxError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise ConfigurationError(
                f"there is no module {error.name!r} in {directory} nor among the installed packages: "
                f"run in the directory that holds it, or install it"
            ) from error
        raise ConfigurationError(
            f"{name} cannot be imported: {type(error).__name__}: {error}{_where(error)}"
        ) from error


def _where(error: ImportError | SyntaxError) -> str:
    """The last line of the user's own that was running."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    if isinstance(error, SyntaxError) or len(frames) < 2:
        return ""  # a syntax error says where by itself
    return f" ({frames[-1].filename}:{frames[-1].lineno})"


def find_topic(app: App, reference: str, name: str) -> Topic[Any]:
    """The topic of that name among those that the application's code knows. Raises `ConfigurationError`."""
    topics: dict[str, Topic[Any]] = {}
    for topic in _topics(app, reference):
        topics.setdefault(topic.name, topic)
    if name in topics:
        return topics[name]
    near = difflib.get_close_matches(name, topics, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    known = ", ".join(sorted(topics)) or "none"
    raise ConfigurationError(f"{reference} knows no topic {name!r}. {hint}Its topics are: {known}")


def _topics(app: App, reference: str) -> Iterator[Topic[Any]]:
    """Those it consumes, then those in its modules and in the modules these take anything from, as contracts are."""
    for registration in app.registrations:
        if isinstance(registration.topic, Topic):
            yield registration.topic
    own = dict.fromkeys([reference.partition(":")[0], *(r.handler.__module__ for r in app.registrations)])
    modules = {name: sys.modules[name] for name in own if name in sys.modules}
    for module in list(modules.values()):
        for value in list(vars(module).values()):
            source = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            if isinstance(source, str) and source in sys.modules:
                modules.setdefault(source, sys.modules[source])
    for module in modules.values():
        for value in list(vars(module).values()):
            if isinstance(value, Topic):
                yield value
