"""Hostile requests sent through the sample nginx: others hidden in them, or half a request."""

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import RunningGateway, credentials
from tests.harness.nginx import Nginx
from tests.harness.raw import GET, HEALTH, Connection, say
from tests.http.smuggling import ATTACKS, HIDDEN, HIDDEN_PATH

StartNginx = Callable[..., Nginx]
AFTER_PATH = "/api/v1/sse/after"
_AFTER = f"GET {AFTER_PATH} HTTP/1.1\r\nHost: gateway\r\n\r\n"


@pytest.fixture
def start_nginx(tmp_path: Path) -> Iterator[StartNginx]:
    """Starts the one nginx of a test in front of a URL, some times in its site replaced."""
    started: list[Nginx] = []

    def start(upstream: str, **replaced: str) -> Nginx:
        started.append(Nginx(tmp_path, upstream))
        for name, value in replaced.items():
            started[-1].replace(f"{name} 10s;", f"{name} {value};")
        started[-1].start()
        return started[-1]

    yield start
    for nginx in started:
        nginx.stop()


@pytest.fixture
def asked(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The paths that the gateway was asked for so far, by its access log."""
    caplog.set_level(logging.INFO, "gateway.access_log")

    def paths() -> list[str]:
        lines = [r.getMessage() for r in caplog.records if r.name == "gateway.access_log"]
        return [found[1] for line in lines if (found := re.search(r" path=(\S+) ", line))]

    return paths


async def test_hidden_request(
    asked: Callable[[], list[str]], gateway: RunningGateway, start_nginx: StartNginx
) -> None:
    """No way of hiding a request brings it to the gateway, nor makes it the answer to what follows
    on the same connection; sent openly, on a connection that goes on, it is passed and answered."""
    nginx = start_nginx(gateway.url)
    for name, attack in ATTACKS.items():
        before = len(asked())
        connection = await Connection.open(nginx.url)
        connection.send(attack)
        answers = await connection.hear(0.3)
        if not answers.closed:
            connection.send(_AFTER)
            answers.data += (await connection.hear(0.3)).data
        connection.close()
        assert len(answers.statuses) <= 2, name
        assert len(asked()) - before <= len(answers.statuses), name
        assert set(asked()[before:]) <= {HEALTH, AFTER_PATH}, name
    openly = await say(nginx.url, f"{GET}\r\n{HIDDEN}{_AFTER}", quiet=0.3, answers=3)
    assert (openly.statuses, openly.closed) == ([200, 404, 404], False)
    assert asked()[-3:] == [HEALTH, HIDDEN_PATH, AFTER_PATH]


async def test_underscores(gateway: RunningGateway, start_nginx: StartNginx) -> None:
    """`X_Organization_ID` is no other spelling of the organization's header, through nginx or
    directly: with it alone there is no organization, and beside the real one it plays no part."""
    nginx = start_nginx(gateway.url)
    stream = "/api/v1/sse/executions/run-1/stream"
    bearer = {"Authorization": credentials()["Authorization"]}
    for url in (gateway.url, nginx.url):
        for headers, status in (
            ({**bearer, "X_Organization_ID": "acme"}, 400),
            ({**bearer, "X_Organization_ID": "other", "X-Organization-ID": "acme"}, 200),
        ):
            async with gateway.session.get(url + stream, headers=headers) as response:
                assert response.status == status


async def test_absolute_target(gateway: RunningGateway, start_nginx: StartNginx) -> None:
    """A target with a host of its own (RFC 9112, section 3.2.2) leads to this gateway's path and
    nowhere else."""
    nginx = start_nginx(gateway.url)
    for url in (gateway.url, nginx.url):
        for path, status in ((HEALTH, 200), ("/api/v1/sse/nowhere", 404)):
            line = f"GET http://other.example{path} HTTP/1.1\r\nHost: gateway\r\n\r\n"
            assert (await say(url, line, quiet=0.3)).statuses == [status]


async def test_half_a_request(gateway: RunningGateway, start_nginx: StartNginx) -> None:
    """nginx does not wait without end for headers or for a body; who sends all is served."""
    times = {"client_header_timeout": "500ms", "client_body_timeout": "500ms"}
    nginx = start_nginx(gateway.url, **times)
    assert (await say(nginx.url, GET, quiet=3)).closed
    post = f"POST {HEALTH} HTTP/1.1\r\nHost: gateway\r\nContent-Length: 9\r\n\r\n"
    assert (await say(nginx.url, post, quiet=3)).closed
    assert (await say(nginx.url, f"{post}{'x' * 9}", quiet=0.3)).statuses == [405]
    large = await say(nginx.url, post.replace(": 9", ": 1025"), quiet=0.3)
    assert large.statuses == [413]
