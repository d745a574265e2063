"""Avro's integers as they stand in a body: base 128, zigzag (Avro 1.12, §Binary Encoding). What is longer than it need be is refused.

These are what the generated looks call where one byte does not tell; unrolled, since every timestamp goes this way.
"""

from __future__ import annotations

from typing import NoReturn

__all__ = ["Refused", "check_digits", "number", "past_decimal", "past_int", "past_long", "refuse", "refuse_index"]


class Refused(Exception):
    """A body that is not what its schema says; the text is for people."""


def refuse(text: str) -> NoReturn:
    raise Refused(text)


def past_int(b: bytes, p: int) -> int:
    """The place behind an int that takes more than one byte."""
    if b[p + 1] < 128:
        p += 1
    elif b[p + 2] < 128:
        p += 2
    elif b[p + 3] < 128:
        p += 3
    elif b[p + 4] < 16:
        p += 4
    else:
        raise Refused("an int has more than 32 bits")
    if not b[p]:
        raise Refused("an integer takes more bytes than it needs")
    return p + 1


def past_long(b: bytes, p: int) -> int:
    """The place behind a long that takes more than one byte."""
    if b[p + 1] < 128:
        p += 1
    elif b[p + 2] < 128:
        p += 2
    elif b[p + 3] < 128:
        p += 3
    elif b[p + 4] < 128:
        p += 4
    elif b[p + 5] < 128:
        p += 5
    elif b[p + 6] < 128:
        p += 6
    elif b[p + 7] < 128:
        p += 7
    elif b[p + 8] < 128:
        p += 8
    elif b[p + 9] < 2:
        p += 9
    else:
        raise Refused("a long has more than 64 bits")
    if not b[p]:
        raise Refused("an integer takes more bytes than it needs")
    return p + 1


def number(b: bytes, p: int) -> tuple[int, int]:
    """An integer as it stands, zigzag, and the place behind it."""
    byte = b[p]
    if byte < 128:
        return byte, p + 1
    end = past_long(b, p)
    found = shift = 0
    for place in range(p, end):
        found |= (b[place] & 127) << shift
        shift += 7
    return found, end


def past_decimal(b: bytes, p: int, most: int, bound: int) -> int:
    """The place behind a decimal. most: bytes that it may have. bound: what its digits must stay below, as the schema's
    precision has it; fastavro would cut them off."""
    n, p = number(b, p)
    if n & 1:
        raise Refused("a length is negative")
    if n > 2 * most:
        raise Refused(f"a decimal has more than {most} bytes")
    check_digits(b, p, n >> 1, bound)
    return p + (n >> 1)


def check_digits(b: bytes, p: int, size: int, bound: int) -> None:
    """Of a decimal that takes `size` bytes."""
    if abs(int.from_bytes(b[p : p + size], "big", signed=True)) >= bound:
        raise Refused(f"a decimal has more digits than its precision, {len(str(bound)) - 1}")


def refuse_index(b: bytes | int, p: int, text: str) -> NoReturn:
    """b: the body, or the number as it stands."""
    found = b if isinstance(b, int) else number(b, p)[0]
    raise Refused(f"{text} {(found >> 1) ^ -(found & 1)}")
