"""Tickets of sets and lists: each good once, for what it was issued for and nothing else."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from gateway.access.policy import Credentials
from gateway.access.tickets import Scope, from_record, to_record
from gateway.bus.registry import register
from gateway.errors import Forbidden, MalformedRequest, RequestRefused, Unauthenticated
from gateway.principal import Principal
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.principals import principal

SET = "/api/v1/sse/executions/ticket"
LIST = "/api/v1/sse/organizations/acme/executions/ticket"


async def ask(
    gateway: RunningGateway, path: str, document: object = None, **claims: Any
) -> tuple[int, Any]:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    async with gateway.session.post(
        gateway.url + path, headers=credentials(**claims), data=body
    ) as response:
        return response.status, await response.json()


async def get_ticket(gateway: RunningGateway, path: str, document: object = None) -> str:
    status, answer = await ask(gateway, path, document)
    assert (status, answer["expires_in"]) == (200, 30), answer
    return str(answer["ticket"])


def policy(gateway: RunningGateway) -> Any:
    return gateway.components.access.policy


async def test_a_ticket_of_a_set_holds_its_executions_and_is_good_once(
    gateway: RunningGateway,
) -> None:
    ticket = await get_ticket(gateway, SET, {"execution_ids": ["run-2", "run-1", "run-2"]})
    asked = await policy(gateway).identify_set((), Credentials(None, None, ticket))
    assert (asked.execution_ids, asked.absent) == (("run-2", "run-1"), ())
    assert [one.execution_id for one in asked.parts] == ["run-2", "run-1"]
    with pytest.raises(Unauthenticated):
        await policy(gateway).identify_set((), Credentials(None, None, ticket))


async def test_no_ticket_is_good_for_another_kind(gateway: RunningGateway) -> None:
    """Each is tried for both other kinds, and used up by that."""
    policies = policy(gateway)
    uses: dict[str, Callable[[Credentials], Awaitable[object]]] = {
        "/api/v1/sse/executions/run-1/ticket": lambda one: policies.identify("run-1", one),
        SET: lambda one: policies.identify_set((), one),
        LIST: lambda one: policies.identify_list("acme", one),
    }
    for path in uses:
        for other, use in uses.items():
            ticket = await get_ticket(gateway, path, {"execution_ids": ["run-1"]})
            given = Credentials(None, None, ticket)
            if other == path:
                await use(given)
            else:
                with pytest.raises(Unauthenticated, match="ticket is not valid"):
                    await use(given)


async def test_a_ticket_of_a_list_is_for_its_organization(gateway: RunningGateway) -> None:
    policies = policy(gateway)
    for organization, error in (("acme", None), ("globex", Forbidden)):
        given = Credentials(None, None, await get_ticket(gateway, LIST))
        if error is None:
            found: Principal = await policies.identify_list(organization, given)
            assert (found.execution_id, found.organization_id) == ("", organization)
        else:
            with pytest.raises(error):
                await policies.identify_list(organization, given)


async def test_the_list_asked_for_is_that_of_the_path(gateway: RunningGateway) -> None:
    """A second organization beside it must be the same, and the token must cover it."""
    token = credentials()["Authorization"].removeprefix("Bearer ")
    identify = policy(gateway).identify_list
    for path, beside, code in (
        ("acme", None, None),
        ("acme", "acme", None),
        ("acme", "globex", "organization_differs"),
        ("globex", None, "organization_forbidden"),
    ):
        if code is None:
            assert (await identify(path, Credentials(token, beside))).organization_id == path
        else:
            with pytest.raises(RequestRefused) as refusal:
                await identify(path, Credentials(token, beside))
            assert refusal.value.code == code


async def test_what_a_body_must_be(gateway: RunningGateway) -> None:
    """An object with 1 to 50 ids; up to 8 KiB for a set, and 1 KiB elsewhere as before."""
    fifty = [f"run-{number:0124}" for number in range(50)]
    cases: tuple[tuple[object, int, str | None], ...] = (
        ({"execution_ids": fifty}, 200, None),
        ({"execution_ids": [*fifty, "run-1"]}, 400, "too_many_executions"),
        ({"execution_ids": []}, 400, "execution_id_missing"),
        ({"execution_ids": ["a b"]}, 400, "malformed_execution_id"),
        ({"execution_ids": "run-1"}, 400, "malformed_body"),
        ({"execution_ids": [1]}, 400, "malformed_body"),
        (["run-1"], 400, "malformed_body"),
        (b"", 400, "malformed_body"),
        (b'{"execution_ids":["run-1"', 400, "malformed_body"),
        (b"\xff" * 8192, 400, "malformed_body"),
        (b"\xff" * 8193, 413, "body_too_large"),
    )
    for document, status, code in cases:
        found = await ask(gateway, SET, document)
        assert (found[0], found[1].get("error")) == (status, code), document
    found = await ask(gateway, "/api/v1/sse/executions/run-1/ticket", b" " * 1025)
    assert found[0] == 413


async def test_a_ticket_is_refused_where_none_of_its_executions_may_be_seen(
    start_gateway: StartGateway, redis: Redis
) -> None:
    """Else it holds those that may, and those that may not apart."""
    gateway = await start_gateway(ownership_wait_seconds=0.5)
    await register(redis, "ours", "acme")
    await register(redis, "theirs", "globex")
    status, answer = await ask(gateway, SET, {"execution_ids": ["theirs", "nobodys"]})
    assert (status, answer["error"]) == (404, "execution_not_found")
    ticket = await get_ticket(gateway, SET, {"execution_ids": ["theirs", "ours", "nobodys"]})
    asked = await policy(gateway).identify_set((), Credentials(None, None, ticket))
    assert (asked.execution_ids, asked.absent) == (("ours",), ("theirs", "nobodys"))


async def test_ids_beside_a_ticket_are_refused(gateway: RunningGateway) -> None:
    ticket = await get_ticket(gateway, SET, {"execution_ids": ["run-1"]})
    with pytest.raises(MalformedRequest):
        await policy(gateway).identify_set(("run-1",), Credentials(None, None, ticket))


async def test_a_ticket_of_fifty_counts_as_five(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(ownership="token", max_tickets_per_second=6)
    names = [f"run-{number}" for number in range(50)]
    answers = [await ask(gateway, SET, {"execution_ids": names}) for _ in range(2)]
    assert [status for status, _ in answers] == [200, 429]


def test_a_record_brings_the_scope_back() -> None:
    """One for an execution has what earlier releases wrote, and no more."""
    whose = principal("")
    scope = Scope("set", ("run-1", "run-2"), ("run-3",))
    assert from_record(to_record(whose, scope)) == (whose, scope)
    assert "kind" not in orjson.loads(to_record(principal()))
