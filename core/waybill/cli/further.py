"""Verbs that come from elsewhere, through the entry-point group `waybill.commands`: a `typer.Typer` with a callback, named as the
verb. It is imported when it is called, or listed; what stands beneath it can wait until then by `late`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperGroup
from typer.main import get_command

from waybill.errors import ConfigurationError

__all__ = ["GROUP", "Verbs", "late"]

GROUP = "waybill.commands"
EXTRAS = {"registry": "registry", "schema": "registry"}
"""The extra that brings what a verb of ours needs."""


class Verbs(TyperGroup):
    """The verbs of this package, and after them the further ones. One of ours cannot be replaced."""

    def list_commands(self, ctx: Any) -> list[str]:
        own = super().list_commands(ctx)
        return [*own, *(name for name in sorted(_further()) if name not in own)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        if found is None and (point := _further().get(cmd_name)) is not None:
            found = self.commands[cmd_name] = _load(point)
        return found

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands and args[0] not in _further():
            for name in _further():
                self.get_command(ctx, name)  # so that it is among the names that may have been meant
        return super().resolve_command(ctx, args)


def late(module: str) -> type[TyperGroup]:
    """For `typer.Typer(cls=…)`: a group whose verbs are those of `verbs`, a `typer.Typer` in that module. It is imported when
    one of them is called or listed, so that the help of all verbs stays quick."""

    class Late(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            self._load()
            return super().list_commands(ctx)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            self._load()
            return super().get_command(ctx, cmd_name)

        def _load(self) -> None:
            if self.commands:
                return
            try:
                verbs = import_module(module).verbs
            except ImportError as error:
                raise _lacking(self.name or module, error) from error
            self.commands.update(getattr(get_command(verbs), "commands", {}))

    return Late


def _further() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _load(point: EntryPoint) -> Any:
    try:
        found = point.load()
    except (ImportError, AttributeError) as error:
        return get_command(_missing(point.name, error))
    command = get_command(found)
    command.name = point.name
    return command


def _missing(name: str, error: Exception) -> typer.Typer:
    """A verb that can be listed, and says when it is called what it lacks."""
    lacking = typer.Typer(add_completion=False)
    anything = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": list[str]()}

    @lacking.command(name, help=f"(cannot be loaded) {escape(_fix(name))}", context_settings=anything)
    def say() -> None:
        raise _lacking(name, error) from error

    return lacking


def _lacking(name: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"waybill {name} cannot be loaded, it lacks something: {error}. {_fix(name)}")


def _fix(name: str) -> str:
    return f"Install it with: pip install 'waybill[{EXTRAS[name]}]'" if name in EXTRAS else "Install it anew"
