"""What travels between the web site and its worker."""

from dataclasses import dataclass

from waybill import Topic

__all__ = ["Signup", "signups"]


@dataclass(frozen=True, slots=True)
class Signup:
    email: str


signups = Topic("signups", Signup, groups=["site"])
