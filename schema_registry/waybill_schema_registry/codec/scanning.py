"""A look at a body before it is decoded: whether it is what its schema says, to the last byte, and within the limits.

What decodes, fastavro, believes what it reads: a few bytes make it allocate hundreds of megabytes, a few thousand overflow
the stack of the process, and an index of -1 takes the last branch. So for each schema a function is made, as Python source of
our own without any text of the schema in it, that walks over the data without making values of it. It knows a varint that is
too long, an index that is none, a length that leads outside, blocks and recursion beyond the limits, and what is left over.
That decoding costs little more for it is because it skips what need not be looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from waybill.errors import ConfigurationError, DecodeError, describe
from waybill_schema_registry.codec import varints
from waybill_schema_registry.codec.limits import Limits
from waybill_schema_registry.codec.measuring import Measures, precision_of, safe_bytes
from waybill_schema_registry.formats.avro.schema import (
    Array,
    Enum,
    Fixed,
    Map,
    Node,
    Primitive,
    Record,
    Union,
    children,
    nodes,
)

__all__ = ["Walk", "check_end", "refusal", "walker"]

Walk: TypeAlias = Callable[[bytes, int, list[int]], int]
"""From a body, the place where its data begins, and a list of one 0 that counts the items, to the place where it ends.

Raises `Refused`; and `IndexError` or `RecursionError` where it would lead too far. The data is sound if it ends with the body.
"""

SHORT: Final = tuple(1 + byte // 2 if byte < 128 and byte % 2 == 0 else 0 for byte in range(256))
"""By the byte that a length begins with: how far it is to what comes behind the bytes it counts; 0 where one byte does not tell."""
STEP: Final = re.compile(r"( *)p \+= (\d+)")
LEVELS: Final = 2000
"""Levels of all kinds that may lie within one another: decoding takes the stack of a thread for them, about 1 KiB each."""
DEEPEST: Final = 500
"""Levels of a schema itself."""
NESTED: Final = 6
"""Loops and branches within one another, in one function: Python takes no more than twenty."""
FREE: Final = 8
"""Fields without bytes that an item may have and still count as one."""


def walker(root: Node, limits: Limits, *, added: int = 0) -> Walk:
    """The look at the data of one schema. added: fields that a reader puts into an item besides what was written.

    Raises `ConfigurationError` for a schema that no data should be decoded with.
    """
    source = Writer(root, limits, added)
    source.write()
    names: dict[str, Any] = {
        "SHORT": SHORT,
        "check_digits": varints.check_digits,
        "number": varints.number,
        "past_decimal": varints.past_decimal,
        "past_int": varints.past_int,
        "past_long": varints.past_long,
        "refuse": varints.refuse,
        "refuse_index": varints.refuse_index,
    }
    exec(compile("\n".join(source.lines), "<avro walk>", "exec"), names)  # noqa: S102 - the source is ours: numbers and fixed texts
    walk: Walk = names["walk"]
    return walk


def refusal(error: Exception) -> DecodeError:
    """What is told of a body of which the walk, or fastavro behind it, raised this."""
    if isinstance(error, varints.Refused):
        return DecodeError(str(error))
    if isinstance(error, IndexError):
        return DecodeError("it ends before its schema does")
    if isinstance(error, RecursionError):
        return DecodeError("its parts lie within one another too deeply")
    return DecodeError(f"{type(error).__name__}: {describe(error)[:300]}")


def check_end(end: int, size: int) -> None:
    """Raises `Refused` unless the data ends with the body."""
    if end < size:
        raise varints.Refused(f"{size - end} bytes are left over behind its data")
    if end > size:
        raise IndexError(end)


class Writer:
    """Writes the source, a function for the whole and one for each record that contains itself or is used twice."""

    def __init__(self, root: Node, limits: Limits, added: int) -> None:
        self.lines: list[str] = []
        self._root = root
        self._limits = limits
        self._measures = Measures(root)
        self._added = added
        self._shared = _shared(root)
        self._functions: dict[Node, str] = {}
        self._left: list[Node] = []
        self._indent = 0
        self._names = 0
        levels = max((self._measures.levels(node) for node in self._measures.cyclic), default=1)
        self._depth = min(limits.depth, max(1, LEVELS // levels))

    def write(self) -> None:
        self._check()
        self._function("walk", self._root, "")
        while self._left:
            node = self._left.pop()
            name = self._functions[node]
            self._function(name, node, ", d")

    def _check(self) -> None:
        """What no body can be blamed for."""
        if self._measures.levels(self._root) > DEEPEST:
            raise ConfigurationError(
                f"the types of this schema lie within one another deeper than {DEEPEST}: make it flatter"
            )
        if self._measures.free(self._root) > self._limits.items:
            raise ConfigurationError("a value of this schema has millions of fields that take no bytes: give it fewer")
        most = self._limits.decimal
        for node in nodes(self._root):
            if (precision_of(node) or 0) > 10 * most:
                raise ConfigurationError(
                    f"a decimal of {precision_of(node)} digits, and more than {most} bytes are not read"
                )
            if isinstance(node, Fixed) and node.logical == "decimal" and node.size > most:
                raise ConfigurationError(
                    f"{node.fullname} is a decimal of {node.size} bytes, and more than {most} are not read"
                )

    def _function(self, name: str, node: Node, more: str) -> None:
        self._indent = 0
        with self._block(f"def {name}(b, p, c{more}):"):
            if not more:
                self._say("d = 0")
            if node in self._measures.cyclic:
                self._say("d += 1")
                self._say(f"c[0] += {1 + self._measures.free(node) // FREE}")
                self._say(f"if d > {self._depth}: refuse('records lie within records deeper than {self._depth}')")
                self._check_items()
            self._body(node, 1)
            self._say("return p")

    # ---------------------------------------------------------------- by kind

    def _value(self, node: Node, level: int) -> None:
        """Walk over one value of the node."""
        if (size := self._measures.exact(node)) is not None:
            self._skip(size)
        elif node in self._measures.cyclic or (
            not isinstance(node, Primitive) and (level > NESTED or node in self._shared)
        ):
            self._say(f"p = {self._called(node)}(b, p, c, d)")
        else:
            self._body(node, level)

    def _called(self, node: Node) -> str:
        if node not in self._functions:
            self._functions[node] = f"f{len(self._functions)}"
            self._left.append(node)
        return self._functions[node]

    def _body(self, node: Node, level: int) -> None:
        if (size := self._measures.exact(node)) is not None:
            self._skip(size)
        elif isinstance(node, Record):
            for field in node.fields:
                self._value(field.type, level)
        elif isinstance(node, Union):
            self._union(node, level)
        elif isinstance(node, Array):
            self._blocks(node.items, level, key=False)
        elif isinstance(node, Map):
            self._blocks(node.values, level, key=True)
        elif isinstance(node, Enum):
            self._index(len(node.symbols), "an enum has no symbol")
        elif isinstance(node, Fixed):
            self._fixed(node)
        elif isinstance(node, Primitive):
            self._primitive(node)

    def _primitive(self, node: Primitive) -> None:
        if node.type == "boolean":
            self._say("if b[p] > 1: refuse('a boolean is neither 0 nor 1')")
            self._skip(1)
        elif node.type == "long":
            self._say("if b[p] > 127: p = past_long(b, p)")
            self._say("else: p += 1")
        elif node.type == "int":
            self._say("if b[p] > 127: p = past_int(b, p)")
            self._say("else: p += 1")
        elif (precision := precision_of(node)) is not None and node.type == "bytes":
            self._say("n = SHORT[b[p]]")
            self._say(f"if n and n <= {1 + min(safe_bytes(node), self._limits.decimal)}: p += n")
            self._say(f"else: p = past_decimal(b, p, {self._limits.decimal}, {10**precision})")
        else:
            self._length()

    def _fixed(self, node: Fixed) -> None:
        """A decimal that may have too many digits; all others have an exact size."""
        self._say(f"check_digits(b, p, {node.size}, {10 ** (precision_of(node) or 1)})")
        self._skip(node.size)

    def _length(self) -> None:
        """Bytes or a text: its length, and that many bytes. One byte of length is the usual case."""
        self._say("n = SHORT[b[p]]")
        self._say("if n: p += n")
        with self._block("else:"):
            self._say("n, p = number(b, p)")
            self._say("if n & 1: refuse('a length is negative')")
            self._say("p += n >> 1")

    def _index(self, count: int, text: str) -> None:
        self._say("n = b[p]")
        if count <= 64:
            self._say(f"if n & 1 or n >= {2 * count}: refuse_index(b, p, '{text}')")
            self._skip(1)
        else:
            self._say("n, p = number(b, p)")
            self._say(f"if n & 1 or n >= {2 * count}: refuse_index(n, p, '{text}')")

    def _union(self, node: Union, level: int) -> None:
        self._index(len(node.branches), "a union has no branch")
        word = "if"
        for place, branch in enumerate(node.branches):
            if self._measures.exact(branch) == 0:
                continue
            with self._block(f"{word} n == {2 * place}:"):
                self._value(branch, level + 1)
            word = "elif"

    def _blocks(self, item: Node, level: int, *, key: bool) -> None:
        """An array, or a map: blocks of items, each with a count before it, until one that is 0."""
        if not key and self._measures.least(item) == 0:
            raise ConfigurationError(
                "an array of items that take no bytes: a body of 5 bytes could claim billions of them; give the items a field"
            )
        self._names += 1
        end = f"e{self._names}"
        size = self._measures.exact(item)
        with self._block("while True:"):
            self._say("n = b[p]")
            self._say("if n > 127: n, p = number(b, p)")
            self._say("else: p += 1")
            self._say("if n == 0: break")
            self._say(f"{end} = 0")
            with self._block("if n & 1:"):
                self._say("s, p = number(b, p)")
                self._say(f"{end} = p + (s >> 1)")
                self._say(f"if s & 1 or {end} > len(b): refuse('a block says that it is longer than the body')")
                self._say("n += 1")
            self._say("n >>= 1")
            self._say("if n > len(b) - p: refuse('a block claims more items than there are bytes')")
            self._say(f"c[0] += n * {1 + (self._measures.free(item) + self._added) // FREE}")
            self._check_items()
            if size is not None and not key:
                self._say(f"p += n * {size}")
            else:
                with self._block("for _ in range(n):"):
                    if key:
                        self._length()
                    self._value(item, level + 2)
            self._say(f"if {end} and p != {end}: refuse('a block has another size than it says')")

    def _check_items(self) -> None:
        self._say(f"if c[0] > {self._limits.items}: refuse('more than {self._limits.items} items')")

    # ---------------------------------------------------------------- source

    def _skip(self, size: int) -> None:
        if size:
            self._say(f"p += {size}")

    def _say(self, line: str) -> None:
        here = "    " * self._indent
        step, before = STEP.fullmatch(here + line), STEP.fullmatch(self.lines[-1] if self.lines else "")
        if step and before and step[1] == before[1]:
            line = f"p += {int(before[2]) + int(step[2])}"
            del self.lines[-1]
        self.lines.append(here + line)

    @contextmanager
    def _block(self, head: str) -> Generator[None]:
        self._say(head)
        self._indent += 1
        before = len(self.lines)
        yield
        if len(self.lines) == before:
            self._say("pass")
        self._indent -= 1


def _shared(root: Node) -> set[Node]:
    """What is used in more than one place: walked over by one function, or the source would double with each level."""
    used: dict[Node, int] = {}
    for node in nodes(root):
        for below in children(node):
            used[below] = used.get(below, 0) + 1
    return {node for node, times in used.items() if times > 1 and not isinstance(node, Primitive | Fixed | Enum)}
