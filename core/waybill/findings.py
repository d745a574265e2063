"""What somebody who looks at a broker or an application has found."""

from __future__ import annotations

import msgspec

__all__ = ["Finding"]


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at. `trouble`: what is wrong with it, and `fix` what to do; `None` where all is well."""

    what: str
    value: str
    trouble: str | None = None
    fix: str | None = None
