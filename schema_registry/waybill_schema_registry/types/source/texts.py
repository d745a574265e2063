"""Texts of schemas in source. They may hold anything, so each is a literal that cannot end before its end."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence

__all__ = ["call", "docstring", "is_docstring", "literal"]

_WIDTH = 88


def literal(text: str) -> str:
    """A string literal: printable letters stay as they are, what only looks like a letter or steers a screen does not."""
    quote = "'" if '"' in text and "'" not in text else '"'
    return quote + "".join(_character(char, quote) for char in text) + quote


def call(before: str, arguments: Sequence[str], brackets: str = "()") -> str:
    """`before(a, b)` as formatters lay it out: on one line, or its arguments on one of their own, or a line each."""
    indent = " " * (len(before) - len(before.lstrip(" ")))
    inside = ", ".join(arguments)
    if len(before) + len(inside) + 2 <= _WIDTH:
        return f"{before}{brackets[0]}{inside}{brackets[1]}\n"
    if len(indent) + 4 + len(inside) <= _WIDTH:
        return f"{before}{brackets[0]}\n{indent}    {inside}\n{indent}{brackets[1]}\n"
    lines = "".join(f"{indent}    {each},\n" for each in arguments)
    return f"{before}{brackets[0]}\n{lines}{indent}{brackets[1]}\n"


def is_docstring(doc: str) -> bool:
    """Whether it can be a docstring, and comes back from it as it was."""
    lines = doc.splitlines()
    plain = all(char == "\n" or (char.isprintable() and char not in '\\"') for char in doc)
    return plain and bool(doc.strip()) and inspect.cleandoc(doc) == doc and all(line == line.rstrip() for line in lines)


def docstring(doc: str) -> str:
    """The lines of a class's docstring."""
    lines = doc.split("\n")
    if len(lines) == 1:
        return f'    """{doc}"""\n'
    body = "".join(f"    {line}\n" if line else "\n" for line in lines[1:])
    return f'    """{lines[0]}\n{body}    """\n'


def _character(char: str, quote: str) -> str:
    if char in (quote, "\\"):
        return "\\" + char
    if re.match(r"[ -~]", char) or (char.isalpha() and char.isprintable()):
        return char
    code = ord(char)
    return {"\n": "\\n", "\t": "\\t"}.get(char) or (f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")
