"""The way from a method and a path to an operation.

The table of routes becomes a tree of path segments, so that finding one takes as long as its path is deep. Segments are
split before they are decoded: a subject may hold a `%2F`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from waybill_schema_registry.server.failures import Refused
from waybill_schema_registry.server.rights import Right

if TYPE_CHECKING:
    from waybill_schema_registry.server.asking import Ask

__all__ = ["Operation", "Parameter", "Route", "Routes"]


Operation: TypeAlias = "Callable[[Ask], Awaitable[Any]]"
"""It returns an `Answer`, or what becomes one as JSON."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query."""

    name: str
    kind: Literal["string", "boolean", "integer"] = "string"
    says: str = ""
    many: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the table.

    right: what one must have to the subject of the path; None: anybody may. open: also who is not known. answer, body: types
    for the document of the API. codes: `error_code`s beside those that any operation has. keep: whether answers may be kept,
    and what they depend on: the id of the path, or all about the subject. content: the type of an answer that is no JSON of the
    registry's. elsewhere: the subjects are in the body, and the operation itself looks at the rights to them.
    """

    method: str
    path: str
    operation: Operation
    right: Right = Right.READ
    open: bool = False
    answer: Any = None
    body: type | None = None
    query: tuple[Parameter, ...] = ()
    codes: tuple[int, ...] = ()
    status: int = 200
    keep: Literal["id", "subject"] | None = None
    elsewhere: bool = False
    content: str | None = None

    @property
    def name(self) -> str:
        return self.operation.__name__

    @property
    def writes(self) -> bool:
        return self.right > Right.READ

    @property
    def aliased(self) -> bool:
        """Whether its path names a subject that may be an alias."""
        return "/subjects/{subject}" in self.path

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of what the path has in braces."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))


class _Node:
    __slots__ = ("any", "named", "routes")

    def __init__(self) -> None:
        self.named: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.routes: dict[str, Route] = {}


class Routes:
    """The table as a tree."""

    def __init__(self, table: Sequence[Route]) -> None:
        self.table = tuple(table)
        self._root = _Node()
        for route in self.table:
            self._add(route)

    def find(self, method: str, segments: Sequence[str]) -> tuple[Route, list[str]]:
        """The route, and the segments that fill its parameters. Raises `Refused` (404, 405)."""
        node = self._root
        values: list[str] = []
        for segment in segments:
            if (named := node.named.get(segment)) is not None:
                node = named
            elif node.any is not None:
                node = node.any
                values.append(segment)
            else:
                raise Refused(404)
        if not node.routes:
            raise Refused(404)
        route = node.routes.get("GET" if method == "HEAD" else method)
        if route is None:
            raise Refused(405, headers=((b"allow", ", ".join(sorted(node.routes)).encode()),))
        return route, values

    def _add(self, route: Route) -> None:
        node = self._root
        for part in route.path.strip("/").split("/") if route.path != "/" else ():
            if part.startswith("{"):
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.named.setdefault(part, _Node())
        node.routes[route.method] = route
