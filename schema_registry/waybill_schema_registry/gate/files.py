"""Contracts that are written down as `.avsc` files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from waybill.errors import ConfigurationError
from waybill_schema_registry.entities import Reference
from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro import reading
from waybill_schema_registry.gate.contract import Contract, Source, by_subject
from waybill_schema_registry.gate.names import Names, names_in

__all__ = ["SUFFIX", "files_in", "from_files"]

SUFFIX = ".avsc"
LARGEST = 16 * 1024 * 1024
"""Bytes of one file."""


def files_in(paths: Iterable[Path]) -> list[Path]:
    """The files themselves, and all `.avsc` files in folders and below. Raises `ConfigurationError` for what is not there."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found |= dict.fromkeys(sorted(path.rglob(f"*{SUFFIX}")))
        elif path.is_file():
            found[path] = None
        else:
            raise ConfigurationError(f"{path}: there is no such file or folder")
    return list(found)


def from_files(files: Sequence[Path], subjects: Mapping[str, str], root: Path | None = None) -> list[Contract]:
    """A contract for each file: its subject is the one of `subjects`, from paths to subjects, or else the file's name without
    `.avsc`. A type that another of these files defines is a reference to it. root: what the paths are shown and looked up
    from. Raises `ConfigurationError` and `InvalidSchema`, naming the file."""
    texts = {_shown(file, root): _read(file) for file in dict.fromkeys(files)}
    names = {file: names_in(_json(file, text)) for file, text in texts.items()}
    subject = {file: subjects.get(file, Path(file).name.removesuffix(SUFFIX)) for file in texts}
    homes = _homes(names)
    contracts = [_contract(file, texts, names, homes, subject) for file in texts]
    by_subject(contracts)
    return contracts


def _contract(
    file: str,
    texts: Mapping[str, str],
    names: Mapping[str, Names],
    homes: Mapping[str, str],
    subject: Mapping[str, str],
) -> Contract:
    needed: dict[str, str] = {}
    _collect(file, names, homes, needed, (file,))
    return Contract(
        subject=subject[file],
        text=texts[file],
        source=Source(what=Path(file).name, file=file),
        references=tuple(
            Reference(name=name, subject=subject[homes[name]]) for name in names[file].foreign if name in homes
        ),
        types={name: texts[homes[name]] for name in needed},
    )


def _collect(
    file: str, names: Mapping[str, Names], homes: Mapping[str, str], needed: dict[str, str], path: tuple[str, ...]
) -> None:
    """The types that a file needs of others, those that these need first."""
    for name in names[file].foreign:
        home = homes.get(name)
        if home is None or name in needed:
            continue  # a type that nobody defines is for the parser to tell
        if home in path:
            raise ConfigurationError(
                f"{' needs '.join([*path, home])}: files that need one another cannot be registered. Define these types in one "
                f"file"
            )
        _collect(home, names, homes, needed, (*path, home))
        needed[name] = home


def _homes(names: Mapping[str, Names]) -> dict[str, str]:
    """From each type to the file that has it at its top, or else to the one that defines it anywhere."""
    homes: dict[str, str] = {}
    for file, found in names.items():
        for name in found.defined[:1]:
            if homes.setdefault(name, file) != file:
                raise ConfigurationError(f"{homes[name]} and {file} both define {name}: keep one of them")
    return homes


def _shown(file: Path, root: Path | None) -> str:
    return Path(os.path.relpath(file, root)).as_posix()


def _read(file: Path) -> str:
    try:
        if file.stat().st_size > LARGEST:
            raise ConfigurationError(
                f"{file} has more than {LARGEST // 1024 // 1024} MiB: no registry takes such a schema"
            )
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error


def _json(file: str, text: str) -> Any:
    try:
        return reading.read(text)
    except InvalidSchema as error:
        raise InvalidSchema(f"{file}: {error}") from error
