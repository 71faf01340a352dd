"""How many connections there may be, and which make room for new ones."""

from collections import OrderedDict
from collections.abc import Hashable
from itertools import islice
from typing import Protocol

STRANGERS = 2048
STRANGERS_OF_ONE_ADDRESS = 1024
"""A hundred people behind one router, whose browsers open six each, are strangers until their first answer."""
CONNECTIONS_OF_ONE_SESSION = 32

_LOOKED_AT = 100


class Member(Protocol):
    """A connection, as far as its place is concerned."""

    def is_idle(self) -> bool:
        """Whether nothing is lost when it is cut off: no whole request of it waits for its answer."""

    def cut_off(self) -> None:
        """Ends it at once."""


class Room:
    """Connections up to a number, and up to a number of each group.

    A new one is always let in: of those there, whoever has been idle for longest makes room.
    """

    def __init__(self, most: int, most_of_group: int):
        self._most = most
        self._most_of_group = most_of_group
        # The one that has asked for nothing for longest comes first.
        self._members: OrderedDict[Member, Hashable] = OrderedDict()
        self._groups: dict[Hashable, OrderedDict[Member, None]] = {}

    def enter(self, member: Member, group: Hashable) -> None:
        """Lets `member` in, at whose expense it may be."""
        of_group = self._groups.get(group, OrderedDict())
        if len(of_group) >= self._most_of_group:
            self._cut_off_one(of_group)
        elif len(self._members) >= self._most:
            self._cut_off_one(self._members)
        self._members[member] = group
        self._groups.setdefault(group, OrderedDict())[member] = None

    def leave(self, member: Member) -> None:
        """Forgets `member`, if it is here."""
        group = self._members.pop(member, None)
        if group is not None:
            del self._groups[group][member]
            if not self._groups[group]:
                del self._groups[group]

    def asks(self, member: Member) -> None:
        """Notes that `member` is in use."""
        if member in self._members:
            self._members.move_to_end(member)
            self._groups[self._members[member]].move_to_end(member)

    def _cut_off_one(self, members: OrderedDict[Member, object]) -> None:
        first = next(iter(members))
        one = next((member for member in islice(members, _LOOKED_AT) if member.is_idle()), first)
        self.leave(one)
        one.cut_off()


class Crowd:
    """All connections: those that have shown a session have a room of their own, which strangers cannot fill."""

    def __init__(self, most: int):
        """`most` connections, within what the system lets the process open."""
        strangers = min(STRANGERS, most // 2)
        self.strangers = Room(strangers, min(STRANGERS_OF_ONE_ADDRESS, max(1, strangers // 2)))
        self.insiders = Room(most - strangers, CONNECTIONS_OF_ONE_SESSION)
