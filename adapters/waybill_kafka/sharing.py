"""Who consumes which partitions: each member keeps what it can, and gives away no more than balance asks. Pure.

The library knows eager rebalances only: everybody lets go of everything, and is told anew what is his. Handlers would have to
end, or run twice, each time a member comes or goes. So members say what they hold when they join, and the one that assigns
leaves it to them; a partition that is to go elsewhere and is still at work stays where it is, and its owner is told to
let it run dry and to join once more. Partitions of the same number move together, since a key is in the same one of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

__all__ = ["Claim", "Share", "share"]

Unit = str
"""What moves as a whole: partitions of the same number, of all the group's topics."""


class Claim(msgspec.Struct, frozen=True):
    """What a member says when it joins: its units, and since which generation of the group it has each."""

    owned: dict[Unit, int] = {}
    busy: list[Unit] = []
    """Those it has not finished with: something of them is at work, or handled and not committed."""


class Share(msgspec.Struct, frozen=True):
    """What a member is told: its units, and which of them somebody else waits for."""

    units: list[Unit] = []
    wanted: list[Unit] = []


def share(units: Sequence[Unit], claims: Mapping[str, Claim]) -> dict[str, Share]:
    """The units of each member, by their names. Every unit has one owner; none goes away from one who is busy with it."""
    owners = _owners(units, claims)
    quotas = _quotas(len(units), claims, owners)
    kept: dict[str, list[Unit]] = {member: [] for member in claims}
    wanted: dict[str, list[Unit]] = {member: [] for member in claims}
    free = [unit for unit in units if unit not in owners]
    for member, claim in claims.items():
        mine = [unit for unit in units if owners.get(unit) == member]
        mine.sort(key=lambda unit: unit not in claim.busy)  # stable: what is at work is kept first
        kept[member] = mine[: quotas[member]]
        for unit in mine[quotas[member] :]:
            if unit in claim.busy:
                kept[member].append(unit)
                wanted[member].append(unit)
            else:
                free.append(unit)
    for unit in free:
        poorest = min(claims, key=lambda member: (len(kept[member]) - quotas[member], member))
        kept[poorest].append(unit)
    return {member: Share(sorted(kept[member]), sorted(wanted[member])) for member in claims}


def _owners(units: Iterable[Unit], claims: Mapping[str, Claim]) -> dict[Unit, str]:
    """Of two who claim the same, he has it who was given it last."""
    owners: dict[Unit, str] = {}
    since: dict[Unit, int] = {}
    known = set(units)
    for member in sorted(claims):
        for unit, generation in claims[member].owned.items():
            if unit in known and generation > since.get(unit, -1):
                owners[unit], since[unit] = member, generation
    return owners


def _quotas(number: int, claims: Mapping[str, Claim], owners: Mapping[Unit, str]) -> dict[str, int]:
    """How many each is to have. Those who have most get the one more that does not divide."""
    least, more = divmod(number, len(claims))
    has: Callable[[str], int] = list(owners.values()).count
    order = sorted(claims, key=lambda member: (-has(member), member))
    return {member: least + (place < more) for place, member in enumerate(order)}
