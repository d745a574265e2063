"""What only an extra brings: imported when it is needed, and missed with the command that installs it."""

from __future__ import annotations

import importlib
from typing import Any

from waybill.errors import ConfigurationError

__all__ = ["needed"]


def needed(module: str, extra: str, what: str) -> Any:
    """The module. what: what cannot be done without it. Raises `ConfigurationError` naming the extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"{what} needs {module}, which cannot be imported ({error}). Install it with: pip install 'waybill[{extra}]'"
        ) from error
