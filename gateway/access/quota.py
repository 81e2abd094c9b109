"""How many streams one organization, subject or address may have, and open in a second.

A limit of 0 is none, and costs nothing. Streams in all are the hub's to count; how organizations
are counted over all instances is `gateway.bus.stream_counts`.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TypeVar

from gateway.bus.stream_counts import StreamCounts
from gateway.errors import LimitReached, RedisUnavailable
from gateway.principal import Principal
from gateway.retry import unavailable

Key = TypeVar("Key")

Subject = str
"""See `Identity.payer`."""

_ROUNDING = 1e-6
"""Seconds by which times of one moment may differ after additions."""


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """Most streams at once of one organization over all instances, of one subject and one address
    of this instance, and most streams that one subject may open in a second; 0 for any number."""

    per_organization: int = 0
    per_subject: int = 0
    per_address: int = 0
    opens_per_second: int = 0
    polls_per_second: int = 0
    """Most polls of one subject in a second; 0 for any number."""
    tickets_per_second: int = 0
    """Most tickets that one subject may ask for in a second; 0 for any number."""


class OpenRate:
    """How often each subject opens streams, polls or asks for tickets, by the generic cell rate
    algorithm.

    A subject owes 1/rate seconds for each time, and never more than one second: so a second's
    worth may come at once.
    """

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._owed_until: dict[Subject, float] = {}
        self._next_sweep = 0.0

    def __len__(self) -> int:
        """How many subjects it remembers: those of the last two seconds with openings."""
        return len(self._owed_until)

    def take(self, subject: Subject, now: float) -> bool:
        """Whether *subject* may open one more at *now* (seconds of any steady clock)."""
        self._sweep(now)
        owed_until = max(now, self._owed_until.get(subject, now)) + 1 / self._per_second
        if owed_until > now + 1 + _ROUNDING:
            return False
        self._owed_until[subject] = owed_until
        return True

    def _sweep(self, now: float) -> None:
        """Forget, once a second, who owes nothing: subjects come and go without end."""
        if now >= self._next_sweep:
            self._owed_until = {one: owed for one, owed in self._owed_until.items() if owed > now}
            self._next_sweep = now + 1


class Quota:
    """All limits that a request must pass before it becomes a stream."""

    def __init__(self, limits: QuotaLimits, stream_counts: StreamCounts) -> None:
        self.stream_counts = stream_counts
        self.subjects: Counter[Subject] = Counter()
        self.addresses: Counter[str] = Counter()
        self.replace(limits)

    def replace(self, limits: QuotaLimits) -> None:
        """Go by *limits* from now on. Nobody is sent away: whoever is over one that was lowered
        opens no more. Streams that were opened while there was no limit are not counted."""
        self._limits = limits
        self.stream_counts.limit = limits.per_organization
        self._rate = OpenRate(limits.opens_per_second) if limits.opens_per_second else None
        self._polls = OpenRate(limits.polls_per_second) if limits.polls_per_second else None
        self._tickets = OpenRate(limits.tickets_per_second) if limits.tickets_per_second else None

    @property
    def by_address(self) -> bool:
        """Whether addresses are counted at all: finding one out takes time."""
        return self._limits.per_address > 0

    def __len__(self) -> int:
        """How many subjects and addresses have streams that are counted."""
        return len(self.subjects) + len(self.addresses)

    async def enter(self, principal: Principal, address: str) -> "Permit":
        """Count one stream against every limit, until its place is left; against that of an
        organization which the token does not name only when it is `admitted`.

        The organization comes last: it alone needs waiting, and a flood of one subject or address
        never reaches Redis.

        Raises:
            LimitReached: one more is too many; its code names the limit.
            Unavailable: Redis could not be asked in time.
        """
        permit = Permit(self)
        try:
            self._count_caller(permit, principal, address)
            if principal.identity.organizations is not None:
                await self._count_organization(permit, principal.organization_id)
        except BaseException:
            permit.leave()
            raise
        return permit

    async def admitted(self, permit: "Permit", principal: Principal) -> None:
        """Count the organization if only the backend has proved it: before, anybody could have
        used up the places of another one by its name.

        Raises:
            LimitReached, Unavailable: as `enter`; *place* is still to be left.
        """
        if permit.organization_id is None and principal.identity.organizations is None:
            await self._count_organization(permit, principal.organization_id)

    def poll(self, principal: Principal) -> None:
        """Count one poll.

        Raises:
            LimitReached: the subject polls too often.
        """
        if self._polls is not None and not self._polls.take(principal.identity.payer, _now()):
            raise LimitReached(
                f"More than {self._limits.polls_per_second} polls in a second with this token's "
                "subject: try again in a few seconds, and poll less often.",
                "rate_limit",
            )

    def ticket(self, principal: Principal) -> None:
        """Count one ticket.

        Raises:
            LimitReached: the subject asks for tickets too often.
        """
        if self._tickets is not None and not self._tickets.take(principal.identity.payer, _now()):
            raise LimitReached(
                f"More than {self._limits.tickets_per_second} tickets in a second with this "
                "token's subject: try again in a few seconds.",
                "rate_limit",
            )

    def _count_caller(self, permit: "Permit", principal: Principal, address: str) -> None:
        """Rate, subject and address, which need no waiting."""
        subject, limits = principal.identity.payer, self._limits
        if self._rate is not None and not self._rate.take(subject, _now()):
            raise LimitReached(
                f"More than {limits.opens_per_second} streams opened in a second with this token's "
                "subject: try again in a few seconds, and open fewer at once.",
                "rate_limit",
            )
        if limits.per_subject:
            if self.subjects[subject] >= limits.per_subject:
                raise _reached("This token's subject", "subject_limit")
            self.subjects[subject] += 1
            permit.subject = subject
        if limits.per_address:
            if self.addresses[address] >= limits.per_address:
                raise _reached("Your address", "address_limit")
            self.addresses[address] += 1
            permit.address = address

    async def _count_organization(self, permit: "Permit", organization_id: str) -> None:
        """The streams of the organization over all instances."""
        if not self._limits.per_organization:
            return
        try:
            entered = await self.stream_counts.enter(organization_id)
        except RedisUnavailable as error:
            raise unavailable(str(error)) from error
        if not entered:
            raise _reached("Your organization", "organization_limit")
        permit.organization_id = organization_id


class Permit:
    """What one stream is counted as. A plain object: every open stream keeps one, and the frames
    of nested context managers cost each 3 KiB more."""

    __slots__ = ("_quota", "address", "organization_id", "subject")

    def __init__(self, quota: Quota) -> None:
        """For `Quota.enter`, which is how to get one."""
        self._quota = quota
        self.subject: Subject | None = None
        self.address: str | None = None
        self.organization_id: str | None = None

    def leave(self) -> None:
        """Give everything back; calling it again changes nothing."""
        quota = self._quota
        if self.subject is not None:
            _uncount(quota.subjects, self.subject)
        if self.address is not None:
            _uncount(quota.addresses, self.address)
        if self.organization_id is not None:
            quota.stream_counts.left(self.organization_id)
        self.subject = self.address = self.organization_id = None


def _now() -> float:
    return asyncio.get_running_loop().time()


def _uncount(counts: Counter[Key], key: Key) -> None:
    counts[key] -= 1
    # A key that stayed with a count of 0 would be there for ever.
    if not counts[key]:
        del counts[key]


def _reached(whose: str, code: str) -> LimitReached:
    return LimitReached(
        f"{whose} has as many streams open as it may: close some, or try again later.",
        code,
    )
