"""No list shows anything of another organization, whatever happens to executions.

Random registrations, events, ends, revocations, deletions and changes of owner, against a model
that knows nothing of how the gateway decides.
"""

from itertools import chain, count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.bus.forget import forget
from gateway.bus.registry import register
from gateway.bus.revocations import revoke
from gateway.contract.keys import meta_key
from gateway.publisher import Publisher
from tests.conftest import StartGateway
from tests.lists.support import ListClient
from tests.support import eventually

ORGANIZATIONS = ("acme", "ACME", "acme/", "*")
ACTS = ("event", "end", "revoke", "forget", "move", "look")
_number = count()

execution = st.tuples(st.sampled_from(ORGANIZATIONS), st.lists(st.sampled_from(ACTS), max_size=4))


def drawn() -> list[list[tuple[str, list[str]]]]:
    """Some worlds: to each execution its first owner, and what happens to it."""
    worlds: list[list[tuple[str, list[str]]]] = []

    @settings(max_examples=8, database=None)
    @given(st.lists(execution, min_size=1, max_size=5))
    def draw(world: list[tuple[str, list[str]]]) -> None:
        worlds.append(world)

    draw()
    return worlds


@pytest.mark.timeout(120)
async def test_no_list_shows_what_is_another_organizations(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """In pages and open streams alike. At the end each shows all that is its organization's: with
    the same number, so that none is counted for another one either."""
    gateway = await start_gateway()
    clients = {name: ListClient(gateway, name) for name in ORGANIZATIONS}
    tabs = {name: await client.stream() for name, client in clients.items()}
    owners: dict[str, str] = {}
    ever: dict[str, set[str]] = {name: set() for name in ORGANIZATIONS}
    async with Publisher(redis_url) as publisher:
        for organization, acts in chain.from_iterable(drawn()):
            execution_id = f"run-{next(_number)}"
            owners[execution_id] = organization
            await register(redis, execution_id, organization)
            ever[organization].add(execution_id)
            for act in acts:
                await _act(act, execution_id, owners, redis, publisher, clients[organization])
                if (owner := owners.get(execution_id)) is not None:
                    ever[owner].add(execution_id)

    async def all_agree() -> bool:
        gateway.components.lists.listings.look_again()
        for name, client in clients.items():
            mine = {one for one, owner in owners.items() if owner == name}
            if set(await client.ids()) != mine:
                return False
            while tabs[name].shown.keys() != mine:
                await tabs[name].read()
        return True

    await eventually(all_agree, 60)
    for name, tab in tabs.items():
        assert tab.seen <= ever[name]


async def _act(
    act: str,
    execution_id: str,
    owners: dict[str, str],
    redis: Redis,
    publisher: Publisher,
    client: ListClient,
) -> None:
    if act == "look":
        await client.page(limit="3")
    elif execution_id not in owners or act == "revoke":
        if owners.pop(execution_id, None) is not None:
            await revoke(redis, "execution", execution_id, 600)
    elif act == "event":
        await publisher.publish(execution_id, "step:started", {"node_id": "a"})
    elif act == "end":
        await publisher.publish(execution_id, "execution:completed", {})
    elif act == "forget":
        del owners[execution_id]
        await forget(redis, "execution:", [execution_id])
    else:
        # As after a flush: the id is the next organization's now, and only its events say so.
        place = ORGANIZATIONS.index(owners[execution_id]) + 1
        owners[execution_id] = ORGANIZATIONS[place % len(ORGANIZATIONS)]
        await redis.hset(meta_key(execution_id), "organization_id", owners[execution_id])
        await register(redis, execution_id, owners[execution_id])
