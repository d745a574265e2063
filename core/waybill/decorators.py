"""What `App.consume` gives, as type checkers see it: which handlers fit a topic. Nothing here runs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar, overload

from waybill.message import Delivery

__all__ = ["Consume", "ConsumeBatch"]

T = TypeVar("T")


class Consume(Protocol[T]):
    """What `App.consume` gives: a decorator for a handler of `T`, with or without the delivery."""

    @overload
    def __call__(
        self, handler: Callable[[T], Coroutine[Any, Any, None]], /
    ) -> Callable[[T], Coroutine[Any, Any, None]]: ...
    @overload
    def __call__(
        self, handler: Callable[[T, Delivery[T]], Coroutine[Any, Any, None]], /
    ) -> Callable[[T, Delivery[T]], Coroutine[Any, Any, None]]: ...
    @overload
    def __call__(self, handler: Callable[[T], None], /) -> Callable[[T], None]: ...
    @overload
    def __call__(self, handler: Callable[[T, Delivery[T]], None], /) -> Callable[[T, Delivery[T]], None]: ...


class ConsumeBatch(Protocol[T]):
    """The same for a handler of batches."""

    @overload
    def __call__(
        self, handler: Callable[[list[T]], Coroutine[Any, Any, None]], /
    ) -> Callable[[list[T]], Coroutine[Any, Any, None]]: ...
    @overload
    def __call__(
        self, handler: Callable[[list[T], list[Delivery[T]]], Coroutine[Any, Any, None]], /
    ) -> Callable[[list[T], list[Delivery[T]]], Coroutine[Any, Any, None]]: ...
    @overload
    def __call__(self, handler: Callable[[list[T]], None], /) -> Callable[[list[T]], None]: ...
    @overload
    def __call__(
        self, handler: Callable[[list[T], list[Delivery[T]]], None], /
    ) -> Callable[[list[T], list[Delivery[T]]], None]: ...
