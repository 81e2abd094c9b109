"""Ownership `backend`: a real backend over HTTP says who may see what."""

import asyncio
import time
from typing import Any

import pytest

from gateway.access.ownership import BackendOwnership
from gateway.access.tokens import issue
from gateway.errors import ExecutionNotFound, Unavailable
from gateway.principal import Identity, Principal
from tests.access.backend_server import Backend, start_backend
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.support import SECRET, eventually

WAIT = 0.6
"""Seconds in which a backend of the test has answered once, also on a busy machine."""


@pytest.fixture
async def backend(aiohttp_server: Any) -> Backend:
    return await start_backend(aiohttp_server)


@pytest.fixture
async def ownership(backend: Backend) -> Any:
    one = BackendOwnership(backend.url, timeout=5.0, cache_seconds=5.0, wait=WAIT)
    yield one
    await one.stop()


def asker(
    execution_id: str = "run-1", organization: str = "acme", token: str | None = "t"
) -> Principal:
    return Principal(execution_id, organization, Identity("user", None, 1e12), token)


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_2xx_admits_with_the_callers_credentials(
    backend: Backend, ownership: BackendOwnership, status: int
) -> None:
    """2xx is a yes. The caller's own credentials reach the backend, and the ids are encoded."""
    backend.status = status
    await ownership.admit(asker("run:1", "a/b c?", "the.callers.token"))
    [request] = backend.asked
    assert request.headers["Authorization"] == "Bearer the.callers.token"
    assert request.headers["X-Organization-ID"] == "a/b c?"
    assert request.raw_path == "/a%2Fb%20c%3F/run%3A1?x=1"


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_401_403_404_are_not_found_after_the_wait(
    backend: Backend, ownership: BackendOwnership, status: int
) -> None:
    """401, 403 and 404 are a no, each after the same wait: it may only mean "not yet"."""
    backend.status = status
    begun = time.monotonic()
    with pytest.raises(ExecutionNotFound):
        await ownership.admit(asker())
    assert time.monotonic() - begun >= WAIT * 0.9


async def test_a_no_may_become_a_yes(backend: Backend) -> None:
    """A no that becomes a yes within the wait lets in."""
    backend.status = 404
    ownership = BackendOwnership(backend.url, timeout=5.0, cache_seconds=0.0, wait=5.0)
    admitted = asyncio.ensure_future(ownership.admit(asker()))
    while not backend.asked:
        await asyncio.sleep(0.01)
    backend.status = 200
    await admitted
    await ownership.stop()


@pytest.mark.parametrize("status", [302, 400, 429, 500, 503])
async def test_other_answers_are_unavailable(
    backend: Backend, ownership: BackendOwnership, status: int
) -> None:
    """Anything else is no answer: unavailable. A redirect is not followed, or any open redirect of
    the backend would be a yes."""
    backend.status = status
    with pytest.raises(Unavailable, match=str(status)):
        await ownership.admit(asker())
    backend.status = 200
    await ownership.admit(asker())


async def test_a_slow_backend_is_unavailable(backend: Backend) -> None:
    """A backend that takes too long is unavailable."""
    backend.delay = 5.0
    ownership = BackendOwnership(backend.url, timeout=0.3, cache_seconds=5.0, wait=WAIT)
    with pytest.raises(Unavailable):
        await ownership.admit(asker())
    await ownership.stop()


async def test_a_slow_no_is_a_no(backend: Backend) -> None:
    """A no that takes a while is a no, also where the wait ends in the middle of a question. One
    that stops answering after its no is unavailable: the answer may have changed."""
    backend.status = 404
    for backend.delay in (0.05, 0.1, 0.15, 0.2):
        slow = BackendOwnership(backend.url, timeout=10.0, cache_seconds=0.0, wait=1.0)
        with pytest.raises(ExecutionNotFound):
            await slow.admit(asker())
        await slow.stop()

    backend.delay = 0.0
    backend.asked.clear()
    mute = BackendOwnership(backend.url, timeout=10.0, cache_seconds=0.0, wait=2.0)
    admitted = asyncio.ensure_future(mute.admit(asker()))
    await eventually(lambda: backend.asked)
    backend.delay = 30.0
    with pytest.raises(Unavailable):
        await admitted
    await mute.stop()


async def test_a_backend_that_is_down_is_unavailable() -> None:
    """A backend that does not listen is unavailable; the message has no credentials in it."""
    nowhere = "http://127.0.0.1:1/{execution_id}"
    away = BackendOwnership(nowhere, timeout=1, cache_seconds=1, wait=WAIT)
    with pytest.raises(Unavailable) as caught:
        await away.admit(asker(token="hush"))
    assert "hush" not in str(caught.value)
    await away.stop()


async def test_equal_questions_share_one_request(
    backend: Backend, ownership: BackendOwnership
) -> None:
    """200 tabs of one user at once are one request, and the answer is cached; for another user,
    organization or execution the backend is asked again."""
    backend.delay = 0.1
    await asyncio.gather(*[ownership.admit(asker()) for _ in range(200)])
    await ownership.admit(asker())
    assert len(backend.asked) == 1
    for other in (asker("run-2"), asker(organization="globex"), asker(token="u")):
        await ownership.admit(other)
    assert len(backend.asked) == 4


async def test_the_first_asker_may_leave(backend: Backend, ownership: BackendOwnership) -> None:
    """When the one whose question it was leaves, the others get their answer all the same."""
    backend.delay = 0.2
    first = asyncio.ensure_future(ownership.admit(asker()))
    while not backend.asked:
        await asyncio.sleep(0.01)
    second = asyncio.ensure_future(ownership.admit(asker()))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert len(backend.asked) == 1


async def test_answers_expire(backend: Backend) -> None:
    """A yes is cached for its time only; a no for a second at most."""
    now = [0.0]
    ownership = BackendOwnership(
        backend.url, timeout=5.0, cache_seconds=5.0, wait=WAIT, clock=lambda: now[0]
    )
    await ownership.admit(asker())
    now[0] = 4.9
    backend.status = 403
    await ownership.admit(asker())
    now[0] = 5.1
    with pytest.raises(ExecutionNotFound):
        await ownership.admit(asker())
    backend.status = 200
    now[0] = 6.2
    await ownership.admit(asker())
    await ownership.stop()


@pytest.mark.parametrize("execution_id", [".", ".."])
async def test_dot_ids_are_not_asked_about(
    backend: Backend, ownership: BackendOwnership, execution_id: str
) -> None:
    """An id that a path would take for a step up is never asked about."""
    with pytest.raises(ExecutionNotFound):
        await ownership.admit(asker(execution_id))
    assert not backend.asked


@pytest.fixture
async def gateway_of(start_gateway: StartGateway, backend: Backend) -> RunningGateway:
    """A gateway whose tokens need no organization: the backend alone decides."""
    return await start_gateway(
        ownership="backend",
        backend_url=backend.url,
        organization_claim="",
        ownership_wait_seconds=WAIT,
    )


async def test_stream_with_the_callers_credentials(
    gateway_of: RunningGateway, backend: Backend
) -> None:
    """A stream opens on the backend's yes, whatever the token says of organizations. On its no the
    answer is the one 404."""
    await gateway_of.open("run-1")
    token = issue(SECRET, organization_id="nobody")
    headers = {"Authorization": f"Bearer {token}", "X-Organization-ID": "any"}
    await gateway_of.open("run-1", **{n.replace("-", "_"): v for n, v in headers.items()})
    backend.status = 403
    async with await gateway_of.get("run-2") as response:
        assert response.status == 404
        assert (await response.json())["error"] == "execution_not_found"


@pytest.mark.alone
async def test_foreign_is_unknown(gateway_of: RunningGateway, backend: Backend) -> None:
    """Unknown (404) and foreign (403) executions get one answer: status, body, headers, and time
    (they are asked about in the same rhythm; 0.3 s is what a busy machine needs)."""
    seen = []
    for status, execution_id in ((404, "run-1"), (403, "run-2"), (401, "run-3")):
        backend.status = status
        begun = time.monotonic()
        async with await gateway_of.get(execution_id) as response:
            took = time.monotonic() - begun
            headers = dict(response.headers)
            # Of each answer its own.
            del headers["Date"], headers["X-Request-ID"]
            seen.append((response.status, await response.text(), headers))
            assert abs(took - WAIT) < 0.3
    assert seen[0] == seen[1] == seen[2]


async def test_ticket_opens_without_a_question(
    gateway_of: RunningGateway, backend: Backend
) -> None:
    """A ticket is given on the backend's yes alone, and opens the stream without asking again."""
    url = f"{gateway_of.url}/api/v1/sse/executions/run-1/ticket"
    backend.status = 403
    async with gateway_of.session.post(url, headers=credentials()) as response:
        assert response.status == 404
    backend.status = 200

    async def ticket_given() -> object:
        # The no is cached for a moment.
        async with gateway_of.session.post(url, headers=credentials()) as response:
            return (await response.json()).get("ticket")

    ticket = await eventually(ticket_given)
    backend.status = 500
    response = await gateway_of.session.get(
        gateway_of.stream_url("run-1"), params={"ticket": ticket}
    )
    gateway_of.responses.append(response)
    assert response.status == 200
