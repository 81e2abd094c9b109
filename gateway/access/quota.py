"""How many streams one organization, subject or address may have, and how often a subject may ask.

A limit of 0 is none, and costs nothing. The hub limits all streams together;
`gateway.bus.stream_counts` counts organizations over all instances.
"""

import asyncio
from collections import Counter

from gateway.bus.stream_counts import StreamCounts
from gateway.errors import LimitReached, RedisUnavailable
from gateway.principal import Principal
from gateway.retry import unavailable
from gateway.settings.access import AccessSettings

_ROUNDING = 1e-6
"""Seconds by which equal times may differ after additions."""


class RateLimiter:
    """How often each subject (`Identity.payer`) may do something, by the generic cell rate
    algorithm: each time costs 1/rate seconds, and a subject's debt is at most one second. So a
    second's worth may come at once. What costs more than a second by itself is allowed to a subject
    without a debt."""

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self._debt_until: dict[str, float] = {}
        self._next_sweep = 0.0

    def __len__(self) -> int:
        """How many subjects it remembers: those with a debt, and of the last second."""
        return len(self._debt_until)

    def take(self, subject: str, now: float, times: int = 1) -> bool:
        """Whether *subject* may do it once more at *now* (seconds of a monotonic clock), where that
        counts as so many *times*: never as more than a second's worth, which is always possible."""
        cost = min(times, self.per_second)
        if self.wait(subject, now, cost) > 0:
            return False
        self.charge(subject, now, cost)
        return True

    def wait(self, subject: str, now: float, cost: int = 1) -> float:
        """Seconds from *now* until *subject* may do it *cost* times more; 0 if it may now."""
        if not self.per_second:
            return 0.0
        debt_until = self._debt_until.get(subject, now)
        wait = min(debt_until, debt_until + cost / self.per_second - 1) - now
        return wait if wait > _ROUNDING else 0.0

    def charge(self, subject: str, now: float, cost: int = 1) -> None:
        """*subject* does it *cost* times."""
        if self.per_second:
            self._sweep(now)
            debt_until = max(now, self._debt_until.get(subject, now))
            self._debt_until[subject] = debt_until + cost / self.per_second

    def _sweep(self, now: float) -> None:
        """Once a second, forget the subjects without a debt: their number has no bound."""
        if now >= self._next_sweep:
            self._debt_until = {one: debt for one, debt in self._debt_until.items() if debt > now}
            self._next_sweep = now + 1


class Quota:
    """All limits that a request must pass before it becomes a stream."""

    def __init__(self, settings: AccessSettings, stream_counts: StreamCounts) -> None:
        self.stream_counts = stream_counts
        self.subjects: Counter[str] = Counter()
        self.addresses: Counter[str] = Counter()
        self.reload(settings)

    def reload(self, settings: AccessSettings) -> None:
        """Use the limits of *settings* from now on. No open stream is closed; one that was opened
        while there was no limit is not counted."""
        self._settings = settings
        self.stream_counts.limit = settings.max_streams_per_organization
        self._opens = RateLimiter(settings.max_opens_per_second)
        self._polls = RateLimiter(settings.max_polls_per_second)
        self._tickets = RateLimiter(settings.max_tickets_per_second)

    @property
    def by_address(self) -> bool:
        """Whether addresses are counted at all: finding one out takes time."""
        return self._settings.max_streams_per_address > 0

    def __len__(self) -> int:
        """How many subjects and addresses have streams that are counted."""
        return len(self.subjects) + len(self.addresses)

    async def enter(self, principal: Principal, address: str, streams: int = 1) -> "Permit":
        """Count one stream, as so many *streams*, against every limit, until its permit is given
        back; against the limit of an organization that the token does not name only when it is
        `admitted`.

        The organization comes last: only that needs Redis, and a flood of one subject or address
        must not reach Redis.

        Raises:
            LimitReached: one more is too many; the code names the limit.
            Unavailable: Redis could not be asked in time.
        """
        permit = Permit(self, streams)
        try:
            self._count_caller(permit, principal, address)
            if principal.identity.organizations is not None:
                await self._count_organization(permit, principal.organization_id)
        except BaseException:
            permit.leave()
            raise
        return permit

    async def admitted(self, permit: "Permit", principal: Principal) -> None:
        """Count the organization if only the backend has proved it: before that, anyone could use
        up the limit of another organization by naming it.

        Raises:
            LimitReached, Unavailable: as `enter`; *permit* must still be given back.
        """
        if not permit.entered and principal.identity.organizations is None:
            await self._count_organization(permit, principal.organization_id)

    def poll(self, principal: Principal) -> None:
        """Count one poll.

        Raises:
            LimitReached: the subject polls too often.
        """
        _check_rate(self._polls, principal, "polls", "poll less often")

    def ticket(self, principal: Principal, streams: int = 1) -> None:
        """Count one ticket, of a stream that counts as so many *streams*.

        Raises:
            LimitReached: the subject asks for tickets too often.
        """
        _check_rate(self._tickets, principal, "tickets", "ask for fewer", streams)

    def _count_caller(self, permit: "Permit", principal: Principal, address: str) -> None:
        """The limits that need no Redis: rate, subject and address."""
        streams = permit.streams
        _check_rate(self._opens, principal, "new streams", "open fewer at once", streams)
        subject, settings = principal.identity.payer, self._settings
        if settings.max_streams_per_subject:
            if self.subjects[subject] + streams > settings.max_streams_per_subject:
                raise _too_many("This token's subject", "subject_limit")
            self.subjects[subject] += streams
            permit.subject = subject
        if settings.max_streams_per_address:
            if self.addresses[address] + streams > settings.max_streams_per_address:
                raise _too_many("Your address", "address_limit")
            self.addresses[address] += streams
            permit.address = address

    async def _count_organization(self, permit: "Permit", organization_id: str) -> None:
        if not self._settings.max_streams_per_organization:
            return
        permit.organization_id = organization_id
        while permit.entered < permit.streams:
            try:
                entered = await self.stream_counts.enter(organization_id)
            except RedisUnavailable as error:
                raise unavailable(str(error)) from error
            if not entered:
                raise _too_many("Your organization", "organization_limit")
            permit.entered += 1


class Permit:
    """What one stream is counted as. A plain object, since every open stream keeps one: the frames
    of nested context managers would take 3 KiB each."""

    __slots__ = ("_quota", "address", "entered", "organization_id", "streams", "subject")

    def __init__(self, quota: Quota, streams: int) -> None:
        """Called by `Quota.enter`."""
        self._quota = quota
        self.streams = streams
        """As how many streams it counts."""
        self.entered = 0
        """As how many its organization's limit counts it so far."""
        self.subject: str | None = None
        self.address: str | None = None
        self.organization_id: str | None = None

    def leave(self) -> None:
        """Give everything back; a second call does nothing."""
        quota = self._quota
        if self.subject is not None:
            _decrement(quota.subjects, self.subject, self.streams)
        if self.address is not None:
            _decrement(quota.addresses, self.address, self.streams)
        if self.organization_id is not None:
            for _ in range(self.entered):
                quota.stream_counts.left(self.organization_id)
        self.subject = self.address = self.organization_id = None


def _check_rate(
    limiter: RateLimiter, principal: Principal, what: str, remedy: str, times: int = 1
) -> None:
    if not limiter.take(principal.identity.payer, asyncio.get_running_loop().time(), times):
        raise LimitReached(
            f"This token's subject asked for more than {limiter.per_second} {what} in a second: "
            f"try again in a few seconds, and {remedy}.",
            "rate_limit",
        )


def _decrement(counts: Counter[str], key: str, by: int) -> None:
    counts[key] -= by
    # A key with a count of 0 would stay in memory.
    if not counts[key]:
        del counts[key]


def _too_many(whose: str, code: str) -> LimitReached:
    return LimitReached(
        f"{whose} has reached the limit of open streams: close some, or try again later.", code
    )
