"""The open lists: one for each organization, within a limit of memory."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import chain

from gateway.bus.index import Index
from gateway.contract.index import Entry
from gateway.contract.keys import list_digest
from gateway.dataloader import SingleFlight
from gateway.errors import LimitReached, RedisUnavailable, Unavailable
from gateway.lists.listing import Listing
from gateway.retry import unavailable

_FOLD_BYTES = 16 * 1024
"""What is set aside for each execution that is to be shown."""

_SHARES = 4
"""One organization gets this part of the memory."""


class Listings:
    """Those of this gateway."""

    def __init__(self, index: Index, make: Callable[[str], Listing], most_bytes: int) -> None:
        """*make*: called with an organization. *most_bytes*: memory of all together."""
        self._make = make
        self._most_bytes = most_bytes
        self.by_organization: dict[str, Listing] = {}
        self._by_digest: dict[str, Listing] = {}
        self._loads: SingleFlight[str, None] = SingleFlight()
        self.on_opened: Callable[[str], None] = lambda _: None
        """Called with the digest of an organization whose list somebody looks at from now on."""
        self.on_closed: Callable[[str], None] = lambda _: None
        """The same, where nobody does any more."""
        index.on_noted = self._noted

    def __len__(self) -> int:
        return len(self.by_organization)

    def __iter__(self) -> Iterator[Listing]:
        """As they were when the loop over them began."""
        return iter(list(self.by_organization.values()))

    def has(self, listing: Listing) -> bool:
        """Whether it is open still."""
        return self.by_organization.get(listing.organization_id) is listing

    @property
    def folds(self) -> int:
        """Of how many executions."""
        return sum(len(one.folds) for one in self)

    @property
    def shown(self) -> Iterator[str]:
        """The executions of all lists that somebody looks at."""
        return chain.from_iterable(one.folds for one in self)

    @property
    def bytes(self) -> int:
        """Memory of all lists, about."""
        return sum(one.bytes for one in self)

    # What comes.

    def _noted(self, organization_id: str, execution_id: str, entry: Entry) -> None:
        if (listing := self.by_organization.get(organization_id)) is not None:
            listing.noted(execution_id, entry)

    def changed(self, digest: str) -> None:
        """It was announced that the index has changed otherwise than by an event."""
        if (listing := self._by_digest.get(digest)) is not None:
            listing.must_compare = True

    def forgotten(self, execution_id: str) -> None:
        """Somebody says that it was deleted."""
        for listing in self:
            if execution_id in listing.entries:
                listing.must_compare = True

    def look_again(self) -> None:
        """Anything may have been missed, or revoked."""
        for listing in self:
            listing.must_compare = True
            for window in listing.windows.values():
                window.is_stale = True

    # For those who ask.

    async def open(self, organization_id: str) -> Listing:
        """The list of this organization, as soon as it was read.

        Raises:
            Unavailable: it cannot be read now.
        """
        listing = self.by_organization.get(organization_id)
        if listing is None:
            self._refuse_if_full(0)
            listing = self.by_organization[organization_id] = self._make(organization_id)
            digest = list_digest(organization_id)
            self._by_digest[digest] = listing
            self.on_opened(digest)
        listing.asked_at = asyncio.get_running_loop().time()
        if not listing.is_loaded:
            try:
                await self._loads.ask(organization_id, listing.load)
            except RedisUnavailable as error:
                raise unavailable(str(error)) from error
        return listing

    def make_room(self, listing: Listing, executions: int) -> None:
        """Make sure that so many *executions* more of *listing* can be shown.

        Raises:
            LimitReached, Unavailable: there is no memory for them.
        """
        more = executions * _FOLD_BYTES
        if listing.bytes + more > self._most_bytes // _SHARES:
            raise LimitReached(
                "Your organization's lists have reached their memory limit: ask for fewer at a "
                "time, with `limit`, or with fewer different filters.",
                "list_limit",
            )
        self._refuse_if_full(more)

    def _refuse_if_full(self, more: int) -> None:
        if self.bytes + more > self._most_bytes:
            raise Unavailable(
                "All lists together have reached their memory limit: try again in a few seconds.",
                "lists_busy",
            )

    def close(self, listing: Listing) -> None:
        """Nobody looks at it any more."""
        listing.close()
        del self.by_organization[listing.organization_id]
        digest = list_digest(listing.organization_id)
        del self._by_digest[digest]
        self.on_closed(digest)

    async def stop(self) -> None:
        """Cancel what is under way."""
        await self._loads.stop()
        for listing in self:
            listing.close()
