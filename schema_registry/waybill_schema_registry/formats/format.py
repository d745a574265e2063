"""What a schema format must offer: the one thing that JSON Schema or Protobuf would have to implement to be added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

__all__ = ["Counterexample", "Difference", "Format", "Parsed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Why a reader cannot read what a writer writes, in one place.

    type and message: in the words of the format's own reference implementation (for Avro, Avro Java's
    `SchemaIncompatibilityType` and messages). location: where in the reader, as a JSON pointer; writer_location: where in the
    writer. reader_fragment, writer_fragment: the parts of both schemas, as JSON values. advice: what to do about it.
    """

    type: str
    location: str
    message: str
    writer_location: str = ""
    reader_fragment: Any = None
    writer_fragment: Any = None
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterexample:
    """Evidence of a difference, proved by decoding it: a datum, as who has the writer's schema reads it, and its bytes.

    outcome: `refused`, the reader raises; `misread`, it makes something else of it. what_happened: in words. difference: the
    one that it proves; reason: its type, or that of what is behind it, where the difference is that no branch fits.
    """

    datum: Any
    body: bytes
    outcome: Literal["refused", "misread"]
    what_happened: str
    reason: str
    difference: Difference


class Parsed(Protocol):
    """A schema that its format has understood. Immutable, hashable by identity."""

    @property
    def text(self) -> str:
        """As the registry keeps it: the same for texts that mean the same to the format. Its hash decides the id."""
        ...


class Format(Protocol):
    """One format. Pure functions; nothing here waits."""

    @property
    def name(self) -> str:
        """As `schemaType` has it, e.g. `AVRO`."""
        ...

    def parse(self, text: str, references: Mapping[str, str] = ..., *, strict: bool = ...) -> Parsed:
        """Understand a text. references: name to text, those that are needed by others first. strict: as new schemas must be;
        what is kept already is read leniently. Raises `InvalidSchema`, also for what is too large, too deep or a trap."""
        ...

    def normalized(self, parsed: Parsed) -> str:
        """The text with all that means nothing taken out (Confluent's `normalize=true`)."""
        ...

    def resolved(self, parsed: Parsed) -> str:
        """The text with its references put in (`format=resolved`)."""
        ...

    def differences(self, reader: Parsed, writer: Parsed) -> Sequence[Difference]:
        """Why the reader cannot read what the writer writes; empty if it can."""
        ...

    def counterexample(self, reader: Parsed, writer: Parsed, found: Sequence[Difference]) -> Counterexample | None:
        """A datum for the first of these differences of which one can be made and proved. It takes longer than finding them."""
        ...
