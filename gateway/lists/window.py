"""The view of a list that readers with the same filter and rights share, and its changes."""

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from gateway.errors import Unavailable
from gateway.events.batch import as_chunk
from gateway.lists.view import Filter, Viewer
from gateway.log import RateLimitedLog

if TYPE_CHECKING:
    from gateway.lists.listing import Listing

log = logging.getLogger(__name__)

_log = RateLimitedLog(60.0)

_WAIT_SECONDS = 5.0
"""Where executions begin all the time, some history is always being read: after so long a stream
begins without those, and is given them as they come."""

_ASK_AGAIN_SECONDS = 1.0
"""After a backend gave no answer."""


class Reader(Protocol):
    """A stream of a list."""

    def give(self, data: bytes, chunk: bytes, updates: int) -> None:
        """Write *data*, which is *chunk* where it is framed, with so many *updates*."""


class Window:
    """The newest executions that match a filter and may be shown to a viewer."""

    def __init__(self, asked: Filter, viewer: Viewer, limit: int) -> None:
        self.asked = asked
        self.viewer = viewer
        self.limit = limit
        self.streams: dict[Reader, None] = {}
        self.asked_at = asyncio.get_running_loop().time()
        self.wanted: list[str] = []
        """What it should show, in order."""
        self.is_stale = True
        """It must look at all executions, not only at those that have changed."""
        self._is_asking = False
        self.unknown: list[str] = []
        """What its viewer must be asked about."""
        self._shown: dict[str, None] = {}
        self._snapshot: bytes | None = None

    @property
    def must_ask(self) -> bool:
        """Whether its viewer must be asked about something, and is not."""
        return bool(self.unknown and self.streams) and not self._is_asking

    async def ask(self) -> None:
        """Ask what its viewer may see of what it shows, as far as answers are old or missing."""
        if self._is_asking or not (self.viewer.is_asked and self.streams):
            return
        self._is_asking = True
        try:
            await self.viewer.ask([*self.wanted, *self.unknown])
            self.is_stale = True
        except Unavailable as error:
            _log.warning(log, "A list may be out of date: %s", error)
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
        finally:
            self._is_asking = False

    def update(self, listing: "Listing", touched: Iterable[str], updated: set[str]) -> int:
        """Find what has changed and write it to all streams; returns how many updates that is."""
        before = len(self.wanted)
        among = None if self.is_stale else {*self.wanted, *self.unknown, *touched}
        chosen = listing.choose(self.asked, self.viewer, self.limit, among=among)
        if among is not None and len(chosen.execution_ids) < min(before, self.limit):
            # One has left: another one may take its place.
            chosen = listing.choose(self.asked, self.viewer, self.limit)
        self.is_stale = False
        self.wanted, self.unknown = chosen.execution_ids, list(chosen.unknown)
        listing.folds.want(self.wanted)
        return self._write(listing, updated)

    def _write(self, listing: "Listing", updated: set[str]) -> int:
        folds = listing.folds
        shown = {one: None for one in self.wanted if folds[one].shown is not None}
        frames = [
            b'event: execution:removed\ndata: {"execution_id":"%b"}\n\n' % one.encode()
            for one in self._shown
            if one not in shown
        ]
        for one in shown:
            if one not in self._shown:
                frames.append(b"event: execution:added\ndata: %b\n\n" % folds[one].encoded)
            elif one in updated:
                frames.append(b"event: execution:updated\ndata: %b\n\n" % folds[one].encoded)
        if frames or list(shown) != list(self._shown):
            self._snapshot = None
        self._shown = shown
        if frames and self.streams:
            data = b"".join(frames)
            chunk = as_chunk(data)
            for stream in list(self.streams):
                stream.give(data, chunk, len(frames))
            return len(frames) * len(self.streams)
        return 0

    def snapshot(self, listing: "Listing") -> bytes:
        """The frame with all that is shown."""
        if self._snapshot is None:
            executions = b",".join([listing.folds[one].encoded for one in self._shown])
            self._snapshot = (
                b'event: executions:snapshot\ndata: {"executions":[%b]}\n\n' % executions
            )
        return self._snapshot

    def may_begin(self, listing: "Listing", since: float) -> bool:
        """Whether a stream may begin that has waited *since* this loop time."""
        waited = asyncio.get_running_loop().time() - since
        return self.is_settled(listing) or waited > _WAIT_SECONDS

    def is_settled(self, listing: "Listing") -> bool:
        """Whether it shows all that it should."""
        return not (self.is_stale or self.unknown) and listing.folds.is_settled(self.wanted)
