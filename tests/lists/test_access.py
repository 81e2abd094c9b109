"""A list shows only what a stream would be opened for, at every moment."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis

from gateway.bus.forget import forget
from gateway.bus.registry import register
from gateway.bus.revocations import restore, revoke
from gateway.contract.keys import meta_key
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.lists.support import ListClient, ListTab
from tests.support import eventually


async def code_of(gateway: RunningGateway, path: str, **headers: str) -> tuple[int, str]:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    async with gateway.session.get(f"{gateway.url}/api/v1/{path}", headers=given) as response:
        return response.status, (await response.json()).get("error", "")


async def two_runs(redis: Redis) -> None:
    await register(redis, "run-1", "acme", "flow")
    await register(redis, "run-2", "acme", "flow")
    await register(redis, "theirs", "globex", "flow")


async def snapshot(client: ListClient, **query: str) -> ListTab:
    tab = await client.stream(**query)
    await tab.read()
    return tab


async def test_only_the_tokens_organization_and_only_sound_questions(
    start_gateway: StartGateway,
) -> None:
    """The organization is the path's; naming another one beside it is refused, as is a token of
    another one, a question that cannot be read, and a HEAD of the stream."""
    gateway = await start_gateway()
    acme = credentials("acme")
    bare = {"Authorization": acme["Authorization"]}
    own, stream = "organizations/acme/executions", "sse/organizations/acme/executions/stream"
    for path in (own, stream):
        assert (await code_of(gateway, path))[1] == "token_missing"
        assert (await code_of(gateway, path.replace("acme", "globex"), **bare)) == (
            403,
            "organization_forbidden",
        )
        differs = await code_of(gateway, path, **bare, X_Organization_ID="globex")
        assert differs == (400, "organization_differs")
        for query, code in (
            ("limit=0", "malformed_limit"), ("limit=101", "malformed_limit"),
            ("limit=" + "9" * 500, "malformed_limit"), ("limit=1e1", "malformed_limit"),
            ("status=runing", "malformed_status"), ("status=running,%00", "malformed_status"),
            ("workflow_id=" + "w" * 257, "malformed_workflow_id"),
        ):  # fmt: skip
            assert (await code_of(gateway, f"{path}?{query}", **acme)) == (400, code), query
    for before in ("", "!", "MTIz", "A" * 3000, "MTIgcnVuLTE%3D%0A", "%C3%A9"):
        answer = await code_of(gateway, f"{own}?before={before}", **acme)
        assert answer == (400, "malformed_before"), before
    url = f"{gateway.url}/api/v1/{stream}"
    async with gateway.session.head(url, headers=acme) as response:
        assert response.status == 405


async def test_a_revoked_execution_is_in_no_list(start_gateway: StartGateway, redis: Redis) -> None:
    """It leaves open lists within seconds, and comes back if the revocation is undone; that of the
    organization ends the stream."""
    gateway = await start_gateway()
    client = ListClient(gateway)
    await two_runs(redis)
    tab = await snapshot(client)
    assert sorted(tab.ids) == ["run-1", "run-2"]
    await revoke(redis, "execution", "run-1", 600)
    await tab.until(lambda shown: list(shown) == ["run-2"])
    assert tab.kinds[-1] == "execution:removed"
    assert await client.ids() == ["run-2"]
    await restore(redis, "execution", "run-1")
    await tab.until(lambda shown: len(shown) == 2)
    await revoke(redis, "organization", "acme", 600)
    assert (await tab.reader.expect("stream:closing")).json()["reason"] == "revoked"
    answer = await code_of(gateway, "organizations/acme/executions", **client.headers)
    assert answer == (403, "organization_revoked")


async def test_what_is_forgotten_or_another_organizations_leaves_open_lists(
    start_gateway: StartGateway, redis: Redis
) -> None:
    """Also where nobody says so: an owner that was changed by hand, and data that is gone."""
    gateway = await start_gateway()
    client, other = ListClient(gateway), ListClient(gateway, "globex")
    await two_runs(redis)
    await register(redis, "run-3", "acme")
    tab = await snapshot(client)
    assert len(tab.ids) == 3
    await forget(redis, "execution:", ["run-1"])
    await tab.until(lambda shown: "run-1" not in shown)
    await redis.hset(meta_key("run-2"), "organization_id", "globex")
    await redis.delete(meta_key("run-3"))
    await tab.until(lambda shown: not shown)
    assert await client.ids() == []
    assert await other.ids() == ["theirs"]


async def test_a_token_that_names_executions_lists_no_others(
    start_gateway: StartGateway, redis: Redis
) -> None:
    """Under ownership `token`; two viewers of one organization are shown different lists."""
    gateway = await start_gateway(ownership="token")
    await two_runs(redis)
    client, narrow = ListClient(gateway), ListClient(gateway)
    narrow.headers = credentials(more={"executions": ["run-2", "theirs"]})
    assert sorted(await client.ids()) == ["run-1", "run-2"]
    assert await narrow.ids() == ["run-2"]
    tab = await snapshot(narrow)
    whole = await snapshot(client)
    assert (tab.ids, sorted(whole.ids)) == (["run-2"], ["run-1", "run-2"])
    await register(redis, "run-3", "acme")
    await whole.until(lambda shown: "run-3" in shown)
    assert tab.kinds == ["executions:snapshot"]


class ListBackend:
    """A customer's backend that says which executions may be shown."""

    def __init__(self) -> None:
        self.allowed = {"run-1", "theirs"}
        self.asked: list[tuple[str, str, list[str]]] = []
        self.answer: Any = None

    async def handle(self, request: web.Request) -> web.Response:
        ids = (await request.json())["execution_ids"]
        organization = request.headers["X-Organization-ID"]
        assert request.path == f"/may-list/{organization}"
        self.asked.append((request.headers["Authorization"], organization, ids))
        if self.answer is not None:
            return web.Response(**self.answer)
        return web.json_response({"execution_ids": [one for one in ids if one in self.allowed]})


@pytest.fixture
async def backend(aiohttp_server: Any) -> tuple[ListBackend, str]:
    one = ListBackend()
    application = web.Application()
    application.router.add_post("/{any:.*}", one.handle)
    server = await aiohttp_server(application)
    return one, str(server.make_url("/"))


async def test_the_backend_says_which_executions_are_listed(
    start_gateway: StartGateway, redis: Redis, backend: tuple[ListBackend, str]
) -> None:
    """It is asked with the viewer's token, about executions of that organization alone, and again
    when its answers are old; what it refuses then leaves open lists. Where it gives no answer,
    nothing more is shown, and new lists are refused."""
    decides, url = backend
    gateway = await start_gateway(
        ownership="backend",
        backend_url=url + "may-watch/{execution_id}",
        backend_list_url=url + "may-list/{organization_id}",
        backend_cache_seconds=0.5,
    )
    await two_runs(redis)
    client = ListClient(gateway)
    assert await client.ids() == ["run-1"]
    tab = await snapshot(client)
    assert tab.ids == ["run-1"]
    await register(redis, "run-3", "acme")
    decides.allowed = {"run-3"}
    await tab.until(lambda shown: list(shown) == ["run-3"])
    assert {token for token, _, _ in decides.asked} == {client.headers["Authorization"]}
    assert all("theirs" not in ids for _, _, ids in decides.asked)
    for status in (401, 403, 404):
        decides.answer = {"status": status}
        other = ListClient(gateway)
        other.headers = credentials(subject=f"user-{status}")
        assert await other.ids() == []
    for answer in ({"status": 500}, {"text": "[]"}, {"text": '{"execution_ids":7}'}):
        decides.answer = answer
        headers = credentials(subject=f"user-{len(decides.asked)}")
        code = await code_of(gateway, "organizations/acme/executions", **headers)
        assert code == (503, "unavailable"), answer
    decides.answer = None


async def test_without_a_backend_for_lists_there_are_none(
    start_gateway: StartGateway, redis: Redis
) -> None:
    """Under ownership `backend`: not even whether the organization has executions."""
    gateway = await start_gateway(ownership="backend", backend_url="http://[::1]:9/{execution_id}")
    await two_runs(redis)
    for path in ("organizations/acme/executions", "sse/organizations/acme/executions/stream"):
        assert await code_of(gateway, path, **credentials()) == (404, "lists_unavailable")
    await redis.publish("execution:run-1", '{"type":"a"}')
    await eventually(lambda: gateway.components.metrics.events_received)
    assert await asyncio.wait_for(redis.keys("sse:{!list:*:about"), 5)


async def test_a_ticket_opens_a_list(start_gateway: StartGateway, redis: Redis) -> None:
    gateway = await start_gateway()
    await two_runs(redis)
    client = ListClient(gateway)
    url = f"{gateway.url}/api/v1/sse/organizations/acme/executions"
    async with gateway.session.post(f"{url}/ticket", headers=client.headers) as response:
        ticket = (await response.json())["ticket"]
    client.headers = {}
    tab = await client.stream(ticket=ticket)
    await tab.read()
    assert sorted(tab.ids) == ["run-1", "run-2"]
    async with gateway.session.get(f"{url}/stream", params={"ticket": ticket}) as response:
        assert (response.status, (await response.json())["error"]) == (401, "ticket_invalid")
