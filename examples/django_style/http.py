"""As much of Django's request and response as the view needs."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["HttpRequest", "HttpResponse"]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    POST: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class HttpResponse:
    content: str
    status: int = 200
