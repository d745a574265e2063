"""Who may do what to which subjects."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from waybill_schema_registry.engine.subjects import GLOBAL, split

__all__ = ["EVERYBODY", "NOBODY", "Right", "User"]


class Right(IntEnum):
    """Each includes those before it.

    READ: read, look up, check. WRITE: register, and delete softly. ADMIN: settings, modes, and what cannot be taken back.
    """

    NONE = 0
    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """rights: by the beginning of a subject's qualified name (`:.context:subject`); the longest that fits decides. The empty
    beginning fits all, and is what decides about global settings."""

    name: str
    rights: tuple[tuple[str, Right], ...]

    def right(self, subject: str) -> Right:
        """To this subject in any spelling, or to a context as `:.context:`; empty or `:.__GLOBAL:`: to what is global."""
        name = "" if subject == GLOBAL else split(subject).qualified
        fitting = ((len(prefix), right) for prefix, right in self.rights if name.startswith(prefix))
        return max(fitting, default=(0, Right.NONE))[1]

    @property
    def reads_all(self) -> bool:
        """Whether nothing is hidden from this user."""
        return self.right("") > Right.NONE and all(right > Right.NONE for _, right in self.rights)


EVERYBODY = User(name="-", rights=(("", Right.ADMIN),))
"""Who asks where there are no users."""
NOBODY = User(name="-", rights=())
"""Who asks for what anybody may see, and is not known."""
