"""How many connections there may be, and which one is closed to admit a new one."""

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from itertools import islice
from typing import Protocol, runtime_checkable

STRANGERS = 2048
STRANGERS_PER_ADDRESS = 1024
"""A hundred people behind one router, whose browsers open six connections each, are strangers until they sign in."""
CONNECTIONS_PER_SESSION = 32

_MAX_EXAMINED = 100


@runtime_checkable
class Member(Protocol):
    """A connection, as far as its place in a room is concerned."""

    def is_idle(self) -> bool:
        """Whether nothing is lost by cutting it off: no complete request on it awaits its answer."""
        ...

    def cut_off(self) -> None:
        """Closes it at once."""


class Room:
    """A limited number of connections, also in each group.

    A new one is always admitted, at the expense of the one that has been idle for longest.
    """

    def __init__(self, max_members: int, max_per_group: int):
        self._max_members = max_members
        self._max_per_group = max_per_group
        # Ordered by their last request, the oldest first.
        self._members: OrderedDict[Member, Hashable] = OrderedDict()
        self._groups: dict[Hashable, OrderedDict[Member, None]] = {}

    def enter(self, member: Member, group: Hashable) -> None:
        """Admits `member`; another one may be cut off for it."""
        of_group = self._groups.get(group, OrderedDict())
        if len(of_group) >= self._max_per_group:
            self._cut_off_one(of_group)
        elif len(self._members) >= self._max_members:
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

    def touch(self, member: Member) -> None:
        """Notes that `member` has made a request."""
        if member in self._members:
            self._members.move_to_end(member)
            self._groups[self._members[member]].move_to_end(member)

    def _cut_off_one(self, members: Iterable[Member]) -> None:
        oldest = list(islice(members, _MAX_EXAMINED))
        member = next((member for member in oldest if member.is_idle()), oldest[0])
        self.leave(member)
        member.cut_off()


class Crowd:
    """All connections. Those of sessions have a room of their own, which strangers cannot fill.

    Attributes:
        strangers: connections that have shown no session.
        insiders: the others.
    """

    def __init__(self, max_connections: int):
        strangers = min(STRANGERS, max_connections // 2)
        self.strangers = Room(strangers, min(STRANGERS_PER_ADDRESS, max(1, strangers // 2)))
        self.insiders = Room(max_connections - strangers, CONNECTIONS_PER_SESSION)
