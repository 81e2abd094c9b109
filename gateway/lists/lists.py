"""Answers polls and streams of lists from the one list that each organization has.

An event's subscriber (`gateway.lists.fold`) marks the summary as changed; every 250 ms each
window writes to its streams what has changed, and at once what has ended.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from gateway.bus.index import Index
from gateway.bus.trips import Trips
from gateway.errors import RedisUnavailable
from gateway.events.ending import TerminalTypes
from gateway.fanout.hub import Hub
from gateway.lists.fold import Fold
from gateway.lists.folds import Openings
from gateway.lists.listing import Listing
from gateway.lists.listings import Listings
from gateway.lists.stream import ListStream
from gateway.lists.sweep import Sweeps
from gateway.lists.view import Filter, Page, Place, Viewer
from gateway.lists.window import Window
from gateway.log import RateLimitedLog
from gateway.metrics import Metrics
from gateway.retry import unavailable
from gateway.ticker import PERIOD, Ticker

log = logging.getLogger(__name__)

KEPT_SECONDS = 10.0
"""How long a list, a window and a fold are kept after somebody has asked for them last."""

COMPARE_SECONDS = 5.0
"""From one look at what may have changed unheard to the next."""

_SOONER_SECONDS = 0.5
"""The same where a change was announced."""

_ROUNDS = 16
"""How often a page is chosen again."""


class Lists:
    """The lists of this gateway."""

    def __init__(
        self,
        index: Index,
        trips: Trips,
        hub: Hub,
        ticker: Ticker,
        metrics: Metrics,
        terminal_types: TerminalTypes,
        *,
        most_bytes: int,
        is_revoked: Callable[[str], bool],
        watching: Callable[[str], int],
        problem: Callable[[], str | None],
        hears_all: bool,
    ) -> None:
        """*most_bytes*: memory of all lists together. *is_revoked*: whether an execution is.
        *watching*: how many streams it has. *problem*: why Redis cannot be used now. *hears_all*:
        see `Listing`."""
        self._index = index
        self._hub = hub
        self._ticker = ticker
        self._metrics = metrics
        self._problem = problem
        make = partial(
            Listing,
            index=index,
            trips=trips,
            hub=hub,
            terminal_types=terminal_types,
            is_revoked=is_revoked,
            watching=watching,
            on_change=self._changed,
            hears_all=hears_all,
        )
        self.listings = Listings(index, make, most_bytes)
        self._openings = Openings(hub)
        self.compare_seconds = COMPARE_SECONDS
        self._is_tick_soon, self._ticks = False, 0
        self._log = RateLimitedLog(60.0)
        ticker.every(PERIOD, "lists", self.tick)
        ticker.every(1.0, "comparing of lists", self.compare)
        ticker.every(PERIOD, "sweep of lists", Sweeps(self.listings.by_organization).tick)

    def _changed(self, listing: Listing, fold: Fold, at_once: bool) -> None:
        listing.folds.changed.add(fold)
        if at_once:
            listing.urgent.add(fold.execution_id)
        if at_once and not self._is_tick_soon:
            self._is_tick_soon = True
            asyncio.get_running_loop().call_soon(self._tick_now)

    def _tick_now(self) -> None:
        self._is_tick_soon = False
        self._ticker.start("lists", partial(self.tick, is_regular=False))

    async def page(
        self, organization_id: str, asked: Filter, viewer: Viewer, limit: int, after: Place | None
    ) -> Page:
        """The first *limit* executions that are asked for, after a place.

        Raises:
            LimitReached, Unavailable: it cannot be read now.
        """
        listing = await self.listings.open(organization_id)
        self.listings.make_room(listing, limit)
        chosen: list[str] = []
        for _ in range(_ROUNDS):
            found = listing.choose(asked, viewer, limit + 1, after)
            if found.unknown:
                await viewer.ask(list(found.unknown)[:limit])
                continue
            if found.execution_ids == chosen:
                break
            chosen = found.execution_ids
            listing.folds.want(chosen[:limit])
            await self._settled(listing, chosen[:limit])
            for execution_id in chosen[:limit]:
                listing.show(execution_id)
        shown = [listing.folds[one] for one in chosen[:limit] if one in listing.folds]
        if not all(fold.is_current for fold in shown) and (problem := self._problem()):
            raise unavailable(problem)
        last = listing.entries.get(chosen[limit - 1]) if len(chosen) > limit else None
        following = Place(-last.active_at, chosen[limit - 1]) if last is not None else None
        return Page([fold.encoded for fold in shown if fold.is_current], following)

    async def join(
        self, stream: ListStream, asked: Filter, viewer: Viewer, limit: int
    ) -> Callable[[], bytes]:
        """Show a list to *stream* from now on, as soon as all of it was read. Returns what gives
        its snapshot.

        Raises:
            LimitReached, Unavailable: it cannot be read now.
        """
        listing = await self.listings.open(stream.principal.organization_id)
        key = (asked, viewer.key, limit)
        window = listing.windows.get(key)
        if window is None:
            self.listings.make_room(listing, limit)
            window = listing.windows[key] = Window(asked, viewer, limit)
        began = asyncio.get_running_loop().time()
        while not window.may_begin(listing, began):
            window.asked_at = asyncio.get_running_loop().time()
            self._update(listing)
            if window.unknown:
                await window.viewer.ask(window.unknown)
                window.is_stale = True
                continue
            await self._settled(listing, window.wanted)
            self._update(listing)
        if (problem := self._problem()) is not None:
            raise unavailable(problem)
        # It may have been let go of meanwhile.
        window = listing.windows.setdefault(key, window)
        window.streams[stream] = None
        stream.on_left = partial(window.streams.pop, stream, None)
        return partial(window.snapshot, listing)

    async def _settled(self, listing: Listing, execution_ids: list[str]) -> None:
        listing.asked_at = asyncio.get_running_loop().time()
        self._openings.add(listing)
        await listing.folds.settled(execution_ids)
        if not self.listings.has(listing):
            raise unavailable("The list was let go of.")

    # Regularly.

    def tick(self, *, is_regular: bool = True) -> Coroutine[Any, Any, None] | None:
        """Write what has changed."""
        self._ticks += is_regular
        notes = {}
        for listing in self.listings:
            self._update(listing, is_regular=is_regular)
            self._openings.add(listing)
            for window in listing.windows.values():
                if window.must_ask:
                    self._hub.spawn(window.ask())
            if found := listing.take_notes():
                notes[listing.organization_id] = found
        return self._index.write(notes) if notes else None

    def _update(self, listing: Listing, *, is_regular: bool = False) -> None:
        looks = is_regular and self._ticks % 4 == 0
        self._metrics.list_updates += listing.tick(looks_who_watches=looks, is_regular=is_regular)

    def compare(self) -> Coroutine[Any, Any, None] | None:
        """Look at what may have changed unheard, and let go of what nobody asks for."""
        now, due = asyncio.get_running_loop().time(), []
        for listing in self.listings:
            if listing.suspects or any(one.streams for one in listing.windows.values()):
                listing.asked_at = now
            if now - listing.asked_at > KEPT_SECONDS:
                self.listings.close(listing)
                continue
            listing.let_go(now, KEPT_SECONDS)
            wait = _SOONER_SECONDS if listing.must_compare else self.compare_seconds
            if listing.is_loaded and now - listing.compared_at >= wait:
                listing.compared_at = now
                due.append(listing)
        return self._compare(due) if due else None

    async def _compare(self, due: list[Listing]) -> None:
        for listing in due:
            try:
                await listing.compare()
                for window in listing.windows.values():
                    self._hub.spawn(window.ask())
            except RedisUnavailable as error:
                listing.must_compare = True
                self._log.warning(log, "Lists may be out of date: %s", error)
