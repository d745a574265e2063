"""From `module:attribute` to an application, its settings, its topics and its broker."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from waybill.app import App
from waybill.errors import ConfigurationError
from waybill.topic import Topic

if TYPE_CHECKING:
    from waybill.settings import Settings

__all__ = [
    "bus_of",
    "choose_app",
    "describe_bus",
    "find_topic",
    "known_topics",
    "load_app",
    "load_handler",
    "open_app",
    "reference_of",
    "settings_of",
]


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


def settings_of(given: str | None, *, url: str | None, dev: bool) -> Settings:
    """Those of the application, if one is named, else those of this process. Raises `ConfigurationError`."""
    settings = _settings(url=url, dev=dev)
    reference = given or settings.app
    return settings if reference is None else open_app(reference, url=url, dev=dev)[1]


def _settings(*, url: str | None, dev: bool) -> Settings:
    from waybill.settings import load  # noqa: PLC0415 - pydantic-settings is slow to import

    return load(**_given(url=url, dev=dev))


def _given(*, url: str | None, dev: bool) -> dict[str, Any]:
    return ({} if url is None else {"url": url}) | ({"dev": True} if dev else {})


def choose_app(given: str | None, *, url: str | None, dev: bool) -> App:
    """The application that a verb works on, with its settings. Says on stderr where `--dev` changes nothing."""
    app, settings = open_app(reference_of(given, url=url, dev=dev), url=url, dev=dev)
    if dev and settings.url:
        from waybill.cli.screen import tell  # noqa: PLC0415 - `waybill --help` need not load it

        tell(f"--dev changes nothing: {_named_by(settings, url)} names {bus_of(settings)}")
    return app


def bus_of(settings: Settings | None, broker: str | None = None) -> str:
    """The URL that counts, without its password. `settings`: `None` for those of this process. `broker`: its name, where it
    is not the default one. Raises `ConfigurationError` if none is named."""
    from waybill.settings import broker_url, load, safe_url  # noqa: PLC0415 - pydantic-settings is slow to import

    found = settings or load()
    return safe_url(found.brokers[broker] if broker in found.brokers else broker_url(found))


def describe_bus(app: App, settings: Settings, *, url: str | None, dev: bool) -> str:
    """Which broker the application runs on, and why, for people. Raises `ConfigurationError` if none is named."""
    bus = bus_of(settings)
    if not settings.url:
        return f"no broker configured: using {bus} in the working directory"
    why = f", which {_named_by(settings, url)} names: --dev changes nothing" if dev else ""
    return f"{app.name}: using {bus}{why}"


def _named_by(settings: Settings, url: str | None) -> str:
    from waybill.settings import origins  # noqa: PLC0415 - pydantic-settings is slow to import

    return origins(settings, {} if url is None else {"url": "--url"})["url"]


def load_app(reference: str) -> App:
    """Import the application. The working directory is searched first. Raises `ConfigurationError`.

    What the module itself raises, other than a failing import, is not caught: its traceback is what its author needs.
    """
    name, attribute = _parts(reference)
    module = _import(name)
    found = _attribute(module, attribute)
    if isinstance(found, App):
        return found
    apps = [f"{name}:{key}" for key, value in vars(module).items() if isinstance(value, App)]
    what = "does not exist" if found is None else f"is a {type(found).__name__}, not an App"
    hint = f"Found there: {', '.join(apps)}" if apps else f"No App was found in {name}"
    raise ConfigurationError(f"{reference} {what}. {hint}")


def load_handler(reference: str) -> Callable[..., Any]:
    """Import a handler, as `load_app` does. Raises `ConfigurationError`."""
    name, attribute = _parts(reference)
    found = _attribute(_import(name), attribute)
    if not callable(found):
        what = "does not exist" if found is None else f"is a {type(found).__name__}, not a function"
        raise ConfigurationError(f"{reference} {what}: write module:function, e.g. shadows:compare")
    return found  # type: ignore[no-any-return]


def _attribute(module: ModuleType, path: str) -> Any:
    found: Any = module
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def _parts(reference: str) -> tuple[str, str]:
    name, _, attribute = reference.partition(":")
    if name.endswith(".py") or "/" in name:
        path = Path(name).with_suffix("")
        elsewhere = path.is_absolute() or ".." in path.parts
        where = f", in {path.parent}" if elsewhere else ""
        module = path.name if elsewhere else ".".join(path.parts)
        raise ConfigurationError(f"{reference!r} names a file: write the module, {module}:{attribute or 'app'}{where}")
    if not name or not attribute:
        raise ConfigurationError(
            f"{reference!r} names no application: write module:attribute, for instance {name or 'service'}:app"
        )
    return name, attribute


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
    topics = known_topics(app, reference)
    if name in topics:
        return topics[name]
    near = difflib.get_close_matches(name, topics, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    known = ", ".join(sorted(topics)) or "none"
    raise ConfigurationError(f"{reference} knows no topic {name!r}. {hint}Its topics are: {known}")


def known_topics(app: App, reference: str) -> dict[str, Topic[Any]]:
    """The topics that the application's code knows, by name."""
    topics: dict[str, Topic[Any]] = {}
    for topic in _topics(app, reference):
        topics.setdefault(topic.name, topic)
    return topics


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
