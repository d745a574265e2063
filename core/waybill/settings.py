"""What configures an application: arguments, then the environment (`WAYBILL_*`), then `waybill.toml`."""

from __future__ import annotations

import difflib
import os
import re
import sys
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from waybill.errors import ConfigurationError

__all__ = ["DEFAULT_URL", "Settings", "broker_url", "load", "safe_url"]

DEFAULT_URL = "sqlite:///waybill.db"
PREFIX = "WAYBILL_"
SECRET = re.compile(r"((?:^|(?<=&))[^=&]*(?:password|passwd|secret|token|key)[^=&]*=)[^&]*", re.IGNORECASE)
"""Parameters of a URL that are not shown."""


class Settings(BaseSettings):
    """Every setting of an application. Unknown keys are errors. Durations are seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        toml_file="waybill.toml",
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
    brokers: dict[str, str] = Field(default_factory=dict, repr=False)
    """Further brokers by name, each with its URL: a topic chooses one by `Topic(…, broker="name")`."""
    broker: dict[str, dict[str, Any]] = Field(default_factory=dict, repr=False)
    """What only one broker knows, by its name: `[broker.embedded]` in `waybill.toml`. Typed by its adapter."""

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
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load(**arguments: Any) -> Settings:
    """The settings of this process. Raises `ConfigurationError` naming each setting that cannot be used."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    unknown = [
        name
        for name in os.environ
        if name.startswith(PREFIX) and name.split("__", 1)[0] not in known and name != f"{PREFIX}WORKER"
    ]
    if unknown:
        near = [match for name in unknown for match in difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.8)]
        hint = f"Did you mean {', '.join(sorted(near))}? " if near else ""
        raise ConfigurationError(
            f"unknown setting in the environment: {', '.join(sorted(unknown))}. {hint}Known are: {', '.join(sorted(known))}"
        )
    try:
        return Settings(**arguments)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        lines = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in found)
        known_names = ", ".join(sorted(Settings.model_fields))
        raise ConfigurationError(
            f"settings (from arguments, the environment, waybill.toml) cannot be used: {lines}. Known are: {known_names}"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"waybill.toml cannot be read: {error}") from error


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
