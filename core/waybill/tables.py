"""What the settings of several brokers have in common: a `[broker.…]` table, checked; certificates; a secret in a file."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from waybill.errors import BrokerUnavailable, ConfigurationError

__all__ = ["Table", "read_table", "secret_in", "tls"]


class Table(BaseModel):
    """Base of what one adapter has in `[broker.…]`: what it does not know is an error, and each docstring describes its field."""

    model_config = ConfigDict(extra="forbid", frozen=True)


T = TypeVar("T", bound=Table)


def read_table(kind: type[T], name: str, given: Mapping[str, Any]) -> T:
    """`[broker.name]`, checked. Raises `ConfigurationError` naming each setting that cannot be used."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in found)
        known = ", ".join(kind.model_fields)
        raise ConfigurationError(f"[broker.{name}] cannot be used: {wrong}. Known are: {known}") from None


def tls(cafile: str | None, certfile: str | None, keyfile: str | None) -> ssl.SSLContext:
    """Who is believed to be the broker, and who we are. Reads the files; blocks."""
    context = ssl.create_default_context(cafile=cafile)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certfile is not None:
        context.load_cert_chain(certfile, keyfile)
    return context


def secret_in(file: str, setting: str) -> str:
    """A password or token that somebody keeps in a file, as it is now. Raises `BrokerUnavailable`; blocks."""
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise BrokerUnavailable(f"{setting} cannot be read: {error}") from error
