"""What configures an application: arguments, then the environment (`WAYBILL_*`), then `waybill.toml`."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from waybill.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["DEFAULT_URL", "FILE", "PREFIX", "Settings", "broker_url", "load", "origins", "safe_url"]

DEFAULT_URL = "sqlite:///waybill.db"
PREFIX = "WAYBILL_"
FILE = "waybill.toml"
SECRET = re.compile(r"((?:^|(?<=&))[^=&]*(?:password|passwd|secret|token|key)[^=&]*=)[^&]*", re.IGNORECASE)
"""Parameters of a URL that are not shown."""
TABLES_ELSEWHERE = frozenset({"schema"})
"""Tables of `waybill.toml` that the schema registry reads."""
REGISTRY = PREFIX + "REGISTRY"
ENVIRONMENT_ELSEWHERE = frozenset(
    {REGISTRY}
    | {
        f"{REGISTRY}_{name}"
        for name in ("USER", "PASSWORD", "TOKEN", "STORE", "USERS", "ADMINISTRATOR", "KEY_PASSWORD")
    }
)
"""And variables of the environment."""


class Settings(BaseSettings):
    """Every setting of an application. Unknown keys are errors. Durations are seconds.

    Making one reads the environment and `waybill.toml` for what the arguments leave out. Raises `ConfigurationError`
    naming each setting that cannot be used.
    """

    # docs/configuration.md is made of the docstrings below the fields. pydantic is not told to look at them: it would read
    # and parse this file whenever a process starts.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        toml_file=FILE,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
    )

    url: str | None = Field(default=None, repr=False)
    """Which broker, and where: `sqlite:///bus.db` or `memory://`. May hold a password: it is never printed whole."""
    app: str | None = None
    """The application the command line works on, as `module:attribute`."""
    dev: bool = False
    """Use a file in the working directory when no URL is given, even without a terminal."""
    topology: Literal["create", "verify", "assume"] = "create"
    """What to do at start about topics and groups that are missing: create them, fail, or assume they exist."""
    publish_deadline: float = Field(default=30.0, gt=0)
    """Seconds until a publish is given up, unless it names its own deadline."""
    publish_buffer: int = Field(default=10_000, ge=1)
    """Messages of one topic that may wait to be sent; `publish` waits when it is full."""
    shutdown_grace: float = Field(default=20.0, ge=0)
    """Seconds that running handlers are given at shutdown before they are cancelled and their messages released."""
    lease: float = Field(default=30.0, ge=0.5)
    """Seconds a member may hold a message between two heartbeats."""
    stall_after: float = Field(default=60.0, gt=0)
    """Seconds without a delivery, while messages lie ready and handlers are idle, until a subscription counts as degraded
    and is connected anew."""
    version: str = ""
    """The service's version or commit, which its dead letters name, and the states that its processes write (`status_dir`)."""
    dlq: str | None = None
    """The file of the dead letters' index. `waybill run` tells it what became of redriven messages. Default, for the command line:
    `waybill-dlq.db` in the working directory."""
    dlq_policy: str | None = None
    """The file with the rules for dead letters: owners, service levels, redrive limits."""
    ops: str | None = None
    """Where each process answers operators over HTTP, as `HOST:PORT`; several workers take the ports from there on."""
    status_dir: str | None = None
    """A folder where each process keeps a file that says how it is: for probes, `waybill backlog` and `waybill circuit`."""
    log_format: Literal["text", "json"] = "text"
    """How `waybill run` logs."""
    redact: Annotated[tuple[str, ...], NoDecode] = ()
    """Names of headers and fields whose values are shown nowhere: not in logs, listings, spans. Those that look secret
    never are. In the environment: with commas between them."""
    brokers: dict[str, str] = Field(default_factory=dict, repr=False)
    """Further brokers by name, each with its URL: a topic chooses one by `Topic(…, broker="name")`."""
    broker: dict[str, dict[str, Any]] = Field(default_factory=dict, repr=False)
    """What only one broker knows, by its name: `[broker.embedded]` in `waybill.toml`. Typed by its adapter."""

    @field_validator("redact", mode="before")
    @classmethod
    def _separated(cls, names: object) -> object:
        """As the environment has them: with commas between them, or as a list of JSON."""
        if not isinstance(names, str):
            return names
        if not names.lstrip().startswith("["):
            return tuple(name for each in names.split(",") if (name := each.strip()))
        try:
            return json.loads(names)
        except ValueError:
            raise ValueError(f"{names!r}: write names with commas between them, or a list of JSON") from None

    @field_validator("redact")
    @classmethod
    def _in_lower_case(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """As names of headers are compared: whoever forgot that would show a secret."""
        return tuple(name.lower() for name in names)

    if not TYPE_CHECKING:  # type checkers see the fields as arguments

        def __init__(self, **arguments: Any) -> None:
            try:
                super().__init__(**arguments)
            except ValidationError as error:
                found = error.errors(include_input=False, include_url=False)
                raise ConfigurationError(
                    f"settings (from arguments, the environment, {FILE}) cannot be used: {'; '.join(map(_wrong, found))}. "
                    f"Known are: {', '.join(sorted(Settings.model_fields))}"
                ) from None
            except SettingsError as error:
                raise ConfigurationError(f"the settings in the environment cannot be read: {error}") from error
            except (OSError, ValueError) as error:
                raise ConfigurationError(f"{FILE} cannot be read: {error}") from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, File(settings_cls)


class File(TomlConfigSettingsSource):
    """`waybill.toml`, without what others read."""

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__call__().items() if name not in TABLES_ELSEWHERE}


def _wrong(error: ErrorDetails) -> str:
    name = ".".join(map(str, error["loc"]))
    if error["type"] != "extra_forbidden":
        return f"{name}: {error['msg']}"
    return f"{name}: there is no such setting{_did_you_mean([name], Settings.model_fields, cutoff=0.6)}"


def _did_you_mean(names: Iterable[str], known: Iterable[str], *, cutoff: float) -> str:
    near = [match for name in names for match in difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)]
    return f". Did you mean {', '.join(sorted(near))}?" if near else ""


def load(**arguments: Any) -> Settings:
    """The settings of this process. Raises `ConfigurationError` naming each setting that cannot be used."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | ENVIRONMENT_ELSEWHERE
    unknown = [
        name
        for name in os.environ
        if name.startswith(PREFIX) and name.split("__", 1)[0] not in known and name != f"{PREFIX}WORKER"
    ]
    if unknown:
        hint = _did_you_mean([name.upper() for name in unknown], known, cutoff=0.8)
        raise ConfigurationError(
            f"unknown setting in the environment: {', '.join(sorted(unknown))}{hint or '.'} Known are: {', '.join(sorted(known))}"
        )
    return Settings(**arguments)


def origins(settings: Settings, arguments: Mapping[str, str]) -> dict[str, str]:
    """Where each of the settings that is not a default has come from, the strongest first.

    `arguments`: those that were given and what they are called, e.g. `--url`. Otherwise it is the environment variable,
    `waybill.toml`, or `the code` that made the settings. Those of a table are listed one by one: `broker.embedded.sync`.
    """
    found = {name: called for name, called in arguments.items() if name in settings.model_fields_set}
    plain = Settings()
    for name in sorted(settings.model_fields_set - found.keys()):
        if getattr(settings, name) != getattr(plain, name):
            found |= dict.fromkeys(_flat({name: getattr(settings, name)}), "the code")
    for name in _flat(EnvSettingsSource(Settings)()):
        found.setdefault(name, PREFIX + name.upper().replace(".", "__"))
    for name in _flat(File(Settings)()):
        found.setdefault(name, FILE)
    return found


def _flat(table: Mapping[str, Any], before: str = "") -> Generator[str]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(cast("Mapping[str, Any]", value), f"{before}{name}.")
        else:
            yield before + name


def broker_url(settings: Settings) -> str:
    """The URL to use. Without one: a file in the working directory where a person is looking, an error elsewhere."""
    if settings.url:
        return settings.url
    if settings.dev or sys.stdout.isatty() or sys.stderr.isatty():
        return DEFAULT_URL
    raise ConfigurationError(
        "no broker is configured. Set WAYBILL_URL (for instance sqlite:////var/lib/bus.db), or `url` in "
        f"waybill.toml; for development, --dev or WAYBILL_DEV=1 uses {DEFAULT_URL}"
    )


def safe_url(url: str) -> str:
    """The URL without its secrets, for logs and screens."""
    try:
        parts = urlsplit(url)
        user, host = parts.username or "", parts.netloc.rpartition("@")[2]
        secret = parts.password is not None
        query = SECRET.sub(r"\1***", parts.query)
    except ValueError:
        return "(a URL that cannot be read)"
    if not secret and query == parts.query:
        return url
    return urlunsplit(parts._replace(netloc=f"{user}:***@{host}" if secret else parts.netloc, query=query))
