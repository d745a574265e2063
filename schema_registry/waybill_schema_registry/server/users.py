"""The users of a server, from a TOML file, and how a request says who asks.

[users.alice]
password = "scrypt$…"            # waybill registry password
rights = { "orders." = "write", "" = "read" }

[users.pipeline]
token = "sha256$…"               # waybill registry password --token
rights = { "" = "admin" }

[anonymous]                      # who says nothing; without this table, nobody
rights = { "public." = "read" }
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import tomllib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import msgspec

from waybill.errors import ConfigurationError
from waybill_schema_registry.server.failures import Refused
from waybill_schema_registry.server.passwords import SCRYPT, SHA256, hash_password, hash_token, is_hash, verify
from waybill_schema_registry.server.rights import EVERYBODY, Right, User

__all__ = ["Users", "read_users"]

KNOWN = 1024
"""Headers that are remembered, so that a password is not hashed at each request."""
AT_ONCE = 2
"""Passwords that are hashed at the same time: the others wait, and the server goes on."""
WAITING = 64
"""Different passwords that are hashed or wait for it, a few seconds' worth. Whoever else comes with one is told to come again, so that
wrong ones keep nobody waiting for long."""
BUSY = "The server is busy with as many passwords as it may be at once. Try again in a moment."


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    rights: dict[str, str]
    password: str | None = None
    token: str | None = None


class _Anonymous(msgspec.Struct, forbid_unknown_fields=True):
    rights: dict[str, str]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    users: dict[str, _Entry] = {}
    anonymous: _Anonymous | None = None


class Users:
    """Everybody who may ask. Without users and without `anonymous`, everybody may do everything."""

    def __init__(
        self,
        passwords: Mapping[str, tuple[str, User]] | None = None,
        tokens: Mapping[str, User] | None = None,
        anonymous: User | None = EVERYBODY,
    ) -> None:
        """passwords: name to hash and user. tokens: hash to user."""
        self.anonymous = anonymous
        self._passwords = dict(passwords or {})
        self._tokens = dict(tokens or {})
        self._known: OrderedDict[bytes, User] = OrderedDict()
        self._secret = os.urandom(32)
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._asked: dict[bytes, asyncio.Task[User | None]] = {}
        """Whose passwords are looked at now. Who comes with the same meanwhile is told the same."""
        self._nobody = hash_password(os.urandom(8).hex())

    def known(self, authorization: bytes | None) -> User | None:
        """Who asks, if that can be told without work."""
        if authorization is None:
            return self.anonymous
        return self._known.get(self._mark(authorization)) if self._passwords or self._tokens else self.anonymous

    async def who(self, authorization: bytes | None) -> User | None:
        """Who asks, by the header `Authorization`; None if that is nobody. Raises `Refused` (503) where too many are asked for."""
        if (user := self.known(authorization)) is not None or authorization is None:
            return user
        scheme, _, given = authorization.decode("latin-1").partition(" ")
        mark = self._mark(authorization)
        found = None
        if scheme.lower() == "bearer":
            found = self._tokens.get(hash_token(given.strip()))
        elif scheme.lower() == "basic":
            found = await asyncio.shield(self._asking(mark, given.strip()))
        if found is not None:
            self._known[mark] = found
            if len(self._known) > KNOWN:
                self._known.popitem(last=False)
        return found

    def _asking(self, mark: bytes, given: str) -> asyncio.Task[User | None]:
        if (asked := self._asked.get(mark)) is None:
            if len(self._asked) >= WAITING:
                raise Refused(503, BUSY)
            asked = self._asked[mark] = asyncio.get_running_loop().create_task(self._by_password(given))
            asked.add_done_callback(lambda _: self._asked.pop(mark))
        return asked

    async def _by_password(self, given: str) -> User | None:
        try:
            name, _, password = base64.b64decode(given, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        kept, user = self._passwords.get(name, (self._nobody, None))
        async with self._turn:
            right = await asyncio.to_thread(verify, password, kept)
        return user if right else None

    def _mark(self, authorization: bytes) -> bytes:
        """Headers are not kept as they are: they hold passwords."""
        return hashlib.blake2b(authorization, key=self._secret, digest_size=16).digest()


def read_users(path: Path | None, administrator: str | None = None) -> Users:
    """From a file and from `name:password` of somebody who may do everything; from neither: everybody may.

    Raises `ConfigurationError`, naming the place in the file.
    """
    if path is None and administrator is None:
        return Users()
    file = _File() if path is None else _read(path)
    passwords: dict[str, tuple[str, User]] = {}
    tokens: dict[str, User] = {}
    for name, entry in file.users.items():
        user = User(name=name, rights=_rights(entry.rights, f"users.{name}"))
        if entry.password is not None:
            passwords[name] = (_hash(entry.password, SCRYPT, f"users.{name}.password"), user)
        if entry.token is not None:
            tokens[_hash(entry.token, SHA256, f"users.{name}.token")] = user
        if entry.password is None and entry.token is None:
            raise ConfigurationError(f"users.{name} has neither a password nor a token: give it one of them")
    if administrator is not None:
        name, colon, password = administrator.partition(":")
        if not (name and colon and password):
            raise ConfigurationError("an administrator is given as name:password")
        passwords[name] = (hash_password(password), User(name=name, rights=(("", Right.ADMIN),)))
    anonymous = None
    if file.anonymous is not None:
        anonymous = User(name="anonymous", rights=_rights(file.anonymous.rights, "anonymous"))
    return Users(passwords, tokens, anonymous)


def _read(path: Path) -> _File:
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"the file of users {path} cannot be used: {error}") from error


def _rights(given: Mapping[str, str], where: str) -> tuple[tuple[str, Right], ...]:
    names = [right.name.lower() for right in Right]
    for prefix, right in given.items():
        if right not in names:
            raise ConfigurationError(
                f"{where}.rights: {prefix!r} has the right {right!r}; it must be one of {', '.join(names)}"
            )
    return tuple((prefix, Right[right.upper()]) for prefix, right in given.items())


def _hash(text: str, kind: str, where: str) -> str:
    if not is_hash(text, kind):
        raise ConfigurationError(
            f"{where} must be a hash that begins with `{kind}$`; `waybill registry password` makes one"
        )
    return text
