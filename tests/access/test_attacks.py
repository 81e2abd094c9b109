"""Attacks on another organization's execution, each beside what works when it is one's own.

`mallory` has a good token of `globex`; the execution belongs to `acme`. What is wrong with tokens
themselves is tried in `test_tokens`, with tickets in `tests.http.test_tickets`.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.access.tokens import issue
from gateway.bus.registry import register
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.sse import SseReader
from tests.support import SECRET, eventually, producer_message

RUN = "run-of-acme"
OWN = "run-of-globex"


@dataclass(frozen=True)
class Request:
    """A request; `{acme}` and `{globex}` stand for good tokens of these organizations."""

    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)

    def filled(self) -> dict[str, Any]:
        tokens = {name: issue(SECRET, organization_id=name) for name in ("acme", "globex")}
        return {
            "headers": {name: value.format(**tokens) for name, value in self.headers.items()},
            "params": {name: value.format(**tokens) for name, value in self.query.items()},
        }


def by_header(token: str, organization: str, **query: str) -> Request:
    return Request(
        {"Authorization": f"Bearer {{{token}}}", "X-Organization-ID": organization}, query
    )


def by_query(token: str, organization: str) -> Request:
    return Request(query={"Authorization": f"Bearer {{{token}}}", "organization_id": organization})


GOOD = [by_header("acme", "acme"), by_query("acme", "acme")]
ATTACKS = {
    # Name: what mallory asks, the answer, and the same request when it is acme's own.
    "as herself": (by_header("globex", "globex"), 404, GOOD[0]),
    "as acme": (by_header("globex", "acme"), 403, GOOD[0]),
    "as herself, in the query": (by_query("globex", "globex"), 404, GOOD[1]),
    "as acme, in the query": (by_query("globex", "acme"), 403, GOOD[1]),
    "token in the header, organization in the query": (
        Request({"Authorization": "Bearer {globex}"}, {"organization_id": "acme"}),
        403,
        Request({"Authorization": "Bearer {acme}"}, {"organization_id": "acme"}),
    ),
    "organization in the header, token in the query": (
        Request({"X-Organization-ID": "acme"}, {"Authorization": "Bearer {globex}"}),
        403,
        Request({"X-Organization-ID": "acme"}, {"Authorization": "Bearer {acme}"}),
    ),
    "the query disagrees with the header about the organization": (
        by_header("globex", "globex", organization_id="acme"),
        404,
        by_header("acme", "acme", organization_id="globex"),
    ),
    "the query disagrees with the header about everything": (
        by_header("globex", "globex", organization_id="acme", Authorization="Bearer {acme}"),
        404,
        by_header("acme", "acme", organization_id="globex", Authorization="Bearer {globex}"),
    ),
    "another spelling": (by_header("globex", "ACME"), 403, GOOD[0]),
    "two organizations in one": (by_header("globex", "acme,globex"), 403, GOOD[0]),
    "an organization of no letters": (by_header("globex", " "), 400, GOOD[0]),
    "no organization": (Request({"Authorization": "Bearer {globex}"}), 400, GOOD[0]),
    "no token": (Request({"X-Organization-ID": "acme"}), 401, GOOD[0]),
    "another scheme": (
        Request({"Authorization": "Basic {acme}", "X-Organization-ID": "acme"}),
        401,
        GOOD[0],
    ),
}


@pytest.fixture
async def strict(start_gateway: StartGateway, redis: Redis) -> RunningGateway:
    """A gateway under ownership `registry`, with an execution of each organization that ended."""
    gateway = await start_gateway(ownership="registry", ownership_wait_seconds=0.5)
    for execution_id, organization in ((RUN, "acme"), (OWN, "globex")):
        await register(redis, execution_id, organization)
        for event_type in ("step:started", "execution:completed"):
            message = producer_message(event_type, secret=f"of {organization}")
            await redis.publish(f"execution:{execution_id}", message)
        key = f"sse:{{{execution_id}}}:events"
        await eventually(partial(_has_ended, redis, key))
    return gateway


async def _has_ended(redis: Redis, key: str) -> bool:
    return await redis.xlen(key) == 2


@pytest.mark.parametrize("name", ATTACKS)
async def test_attack_opens_no_stream(strict: RunningGateway, name: str) -> None:
    """A stream of another organization's execution is refused, and the answer shows nothing of it;
    its own organization gets it, asked for in the same way."""
    attack, status, own = ATTACKS[name]
    async with strict.session.get(strict.stream_url(RUN), **attack.filled()) as response:
        assert response.status == status
        assert "of acme" not in await response.text()
    async with strict.session.get(strict.stream_url(RUN), **own.filled()) as response:
        assert response.status == 200
        assert "of acme" in await response.text()


@pytest.mark.parametrize("name", ATTACKS)
async def test_attack_gets_no_poll(strict: RunningGateway, name: str) -> None:
    """A poll is refused alike."""
    url = f"{strict.url}/api/v1/workflows/any/runs/{RUN}"
    attack, status, own = ATTACKS[name]
    for request, expected in ((attack, status), (own, 200)):
        given = request.filled()
        given["params"]["include_logs"] = "true"
        async with strict.session.get(url, **given) as response:
            assert response.status == expected
            assert ("of acme" in await response.text()) == (expected == 200)


@pytest.mark.parametrize("name", ATTACKS)
async def test_attack_gets_no_ticket(strict: RunningGateway, name: str) -> None:
    """Neither is there a ticket for it; for one's own execution there is, by header alone."""
    url = f"{strict.url}/api/v1/sse/executions/{RUN}/ticket"
    attack, status, own = ATTACKS[name]
    async with strict.session.post(url, **attack.filled()) as response:
        # Credentials in the query are refused before they are looked at.
        assert response.status == (400 if attack.query else status)
    async with strict.session.post(url, **own.filled()) as response:
        assert response.status == (400 if own.query else 200)


async def test_a_cursor_of_another_execution_shows_nothing_of_it(strict: RunningGateway) -> None:
    """The position of another organization's execution shows nothing of it: at most it is no
    position of one's own."""
    async with strict.session.get(strict.stream_url(RUN), headers=credentials()) as response:
        theirs = [one.id for one in await SseReader(response).rest() if one.id]
    headers = {**credentials("globex"), "Last-Event-ID": theirs[0]}
    async with strict.session.get(strict.stream_url(OWN), headers=headers) as response:
        seen = await SseReader(response).rest()
    told = {one.json()["data"]["secret"] for one in seen if one.id and one.event != "connected"}
    assert told == {"of globex"}


async def test_a_ticket_is_for_its_execution_only(strict: RunningGateway) -> None:
    """A ticket of one's own opens neither another execution nor another organization."""
    for execution_id, query, status in (
        (RUN, {}, 401),
        (RUN, {"organization_id": "acme"}, 401),
        (OWN, {"organization_id": "acme"}, 403),
        (OWN, {"organization_id": "globex"}, 200),
        (OWN, {}, 200),
    ):
        url = f"{strict.url}/api/v1/sse/executions/{OWN}/ticket"
        async with strict.session.post(url, headers=credentials("globex")) as response:
            ticket = (await response.json())["ticket"]
        async with strict.session.get(
            strict.stream_url(execution_id), params={"ticket": ticket, **query}
        ) as response:
            assert response.status == status, (execution_id, query)
            assert "of acme" not in await response.text()
