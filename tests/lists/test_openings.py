"""How histories are read for lists: a few at a time, and no list waits for one that never comes."""

import asyncio
from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from gateway.bus.registry import register
from gateway.contract.index import Entry
from gateway.lists.fold import Fold
from gateway.lists.folds import Openings
from gateway.lists.listing import Listing
from gateway.lists.view import Filter
from gateway.lists.window import Window
from tests.conftest import RunningGateway
from tests.support import eventually


class Everything:
    """A viewer who sees all."""

    is_asked = False
    sees_any = True
    key = ()

    def may_see(self, _: str) -> bool:
        return True

    async def ask(self, _: Sequence[str]) -> None:
        raise AssertionError


@pytest.fixture
async def listing(gateway: RunningGateway) -> Listing:
    """A list of `acme` beside the gateway's own, which nobody reads in the background."""
    components = gateway.components

    def changed(listing: Listing, fold: Fold, _: bool) -> None:
        listing.folds.changed.add(fold)

    return Listing(
        "acme",
        components.index,
        components.trips,
        components.hub,
        components.rules.terminal_types,
        lambda _: False,
        components.hub.watching,
        changed,
        hears_all=True,
    )


async def test_a_fold_that_is_closed_while_it_opens_gives_its_place_back(
    gateway: RunningGateway, listing: Listing, redis: Redis
) -> None:
    """However often that happens, the next one is opened."""
    openings = Openings(gateway.components.hub)
    names = [f"run-{number}" for number in range(20)]
    for name in (*names, "last"):
        await register(redis, name, "acme")
    listing.folds.want(names)
    openings.add(listing)
    # More than may be opened at a time wait.
    assert 0 < len(listing.folds.waiting) < len(names)
    for name in names:
        listing.folds.close(name)
    listing.folds.want(["last"])
    openings.add(listing)
    assert "last" in listing.folds.waiting

    async def is_opened() -> bool:
        listing.tick(looks_who_watches=False)
        return listing.folds["last"].is_current

    await eventually(is_opened)
    listing.close()


async def test_a_stream_begins_without_a_history_that_takes_long(listing: Listing) -> None:
    """It waits for five seconds, or until all that it shows was read."""
    window = Window(Filter(), Everything(), 100)
    now = asyncio.get_running_loop().time
    assert not window.may_begin(listing, now())
    window.update(listing, (), set())
    assert window.may_begin(listing, now())
    listing.noted("run-1", Entry(1, None, "running", ""))
    window.is_stale = True
    window.update(listing, (), set())
    # Its history is not being read.
    assert list(listing.folds.waiting) == window.wanted == ["run-1"]
    assert not window.may_begin(listing, now() - 2.5)
    assert window.may_begin(listing, now() - 5.1)
    assert not window.is_settled(listing)
    listing.close()
