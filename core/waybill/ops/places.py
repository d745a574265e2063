"""Where to listen, as settings and options write it."""

from __future__ import annotations

from waybill.errors import ConfigurationError

__all__ = ["host_and_port"]


def host_and_port(text: str, said: str) -> tuple[str, int]:
    """Of `HOST:PORT`. said: how it was given, for who must mend it. Raises `ConfigurationError`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(f"{said}: write HOST:PORT, for instance 127.0.0.1:9100 or [::]:9100")
    return host.removeprefix("[").removesuffix("]"), int(port)
