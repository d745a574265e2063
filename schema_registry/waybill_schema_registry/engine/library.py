"""Texts and parsed schemas, held in memory as long as there is room for them.

Nothing in here can grow stale. A text is known by its context, id and GUID; a parsed schema by its text and the GUIDs of
what it refers to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from waybill_schema_registry.engine.bounded import Bounded
from waybill_schema_registry.engine.limits import Limits
from waybill_schema_registry.engine.verdict import Compatibility
from waybill_schema_registry.entities import Schema
from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.format import Difference, Format, Parsed

__all__ = ["Library", "Meaning", "Meant", "Needed", "TextKey", "Understanding"]

TextKey = tuple[str, int, str]
"""Context, id, GUID."""

Meant = tuple[tuple[str, str], ...]
"""The names of all that a schema refers to, directly and indirectly, each with the GUID of what it stands for."""

Meaning = tuple[str, Meant]
"""A schema's GUID, with what its references mean: in two contexts the same reference may mean two things."""

Understanding = tuple[str, str, Meant, bool]
"""A text to be parsed: its format, itself, what it refers to, whether to be strict."""

PARSED_IS_LARGER = 12
"""How many bytes a parsed schema takes for one of its text, roughly."""


class Needed(Exception):
    """A decision cannot be made before these texts are at hand. Fetch them and ask again."""

    def __init__(self, keys: Iterable[TextKey]) -> None:
        super().__init__()
        self.keys = tuple(keys)


class Library:
    def __init__(self, formats: Sequence[Format], limits: Limits) -> None:
        self.formats = {each.name: each for each in formats}
        self.texts = Bounded[TextKey, Schema](limits.texts)
        self._parsed = Bounded[Understanding, Parsed](limits.parsed)
        self._canonical = Bounded[tuple[Understanding, bool], str](limits.known)
        self._resolved = Bounded[Understanding, str](limits.known)
        self._differences = Bounded[tuple[Meaning, Meaning], tuple[Difference, ...]](limits.known)

        self.verdicts = Bounded[tuple[object, ...], Compatibility](limits.known)

    def keep(self, key: TextKey, schema: Schema) -> None:
        self.texts.put(key, schema, 200 + 4 * len(schema.text))

    def format(self, name: str) -> Format:
        """Raises `InvalidSchema`."""
        found = self.formats.get(name)
        if found is None:
            raise InvalidSchema(f"Invalid schema type {name}. Known here: {', '.join(self.formats)}")
        return found

    def known_canonical(self, key: Understanding, *, normalize: bool) -> str | None:
        """The text as it is kept, if it was asked for before: found without parsing."""
        return self._canonical.get((key, normalize))

    def canonical(self, key: Understanding, needed: Mapping[str, str], *, normalize: bool) -> str:
        """The text as it is kept. needed: names and texts, first those that others need. Raises `InvalidSchema`."""
        tried, parsed = self._parse_strictly_first(key, needed)
        if normalize:
            text = self.format(key[0]).normalized(parsed)
        else:
            text = parsed.text
            self._keep_parsed((key[0], text, key[2], False), parsed)
        # What is read strictly is read the same leniently: one parse serves both.
        for known in {tried, (*key[:3], False)}:
            self._canonical.put((known, normalize), text, 400 + 4 * (len(key[1]) + len(text)))
        return text

    def parsed(self, key: Understanding) -> Parsed | None:
        """What is parsed already."""
        return self._parsed.get(key)

    def parse(self, key: Understanding, needed: Mapping[str, str]) -> Parsed:
        """Raises `InvalidSchema`."""
        parsed = self._parse(key, needed)
        self._keep_parsed(key, parsed)
        return parsed

    def _keep_parsed(self, key: Understanding, parsed: Parsed) -> None:
        self._parsed.put(key, parsed, 1000 + PARSED_IS_LARGER * len(key[1]))

    def _parse_strictly_first(self, key: Understanding, needed: Mapping[str, str]) -> tuple[Understanding, Parsed]:
        strict = (*key[:3], True)
        try:
            return strict, self._parse(strict, needed)
        except InvalidSchema:
            if key == strict:
                raise
        return key, self._parse(key, needed)

    def _parse(self, key: Understanding, needed: Mapping[str, str]) -> Parsed:
        try:
            return self.format(key[0]).parse(key[1], needed, strict=key[3])
        except InvalidSchema as error:
            raise InvalidSchema(f"Invalid schema of type {key[0]}, details: {error}") from error

    def resolved(self, key: Understanding) -> str | None:
        return self._resolved.get(key)

    def resolve(self, key: Understanding, parsed: Parsed) -> str:
        text = self.format(key[0]).resolved(parsed)
        self._resolved.put(key, text, 200 + 4 * len(text))
        return text

    def differences(self, reader: Meaning, writer: Meaning) -> tuple[Difference, ...] | None:
        """What came of comparing them before."""
        return self._differences.get((reader, writer))

    def keep_differences(self, reader: Meaning, writer: Meaning, found: tuple[Difference, ...]) -> None:
        self._differences.put((reader, writer), found, 400 + 2000 * len(found))
