"""By HTTP: arguments that are wrong, and answers of what is no gateway."""

from typing import Any

import pytest
from aiohttp import web

from gateway.errors import ConfigurationError
from gateway.publisher import EventTooLarge, Publisher, PublishFailed, SyncPublisher
from gateway.publisher.composer import Outgoing
from gateway.publisher.http_target import HttpTarget
from tests.publisher.conftest import MakePublisher
from tests.support import served

ANSWERS: list[tuple[web.Response, type[Exception], str]] = [
    (web.Response(text="<html>"), PublishFailed, "not that of a gateway"),
    (web.json_response({"ids": []}), PublishFailed, "not that of a gateway"),
    (web.json_response([]), PublishFailed, "not that of a gateway"),
    (web.Response(status=302, headers={"Location": "/"}), PublishFailed, "HTTP 302"),
    (web.json_response({"error": "not_found"}, status=404), PublishFailed, "GATEWAY_PUBLISH=on"),
    (web.Response(status=413, text="nginx"), EventTooLarge, "refuses its size"),
    (web.Response(status=502, text="nginx"), PublishFailed, "within 1 s.*through its proxy"),
]


async def test_answers_that_are_not_a_gateways(make_publisher: MakePublisher) -> None:
    """Each is an error that says what to do, and never an id."""
    answers = iter(ANSWERS)
    current: list[web.Response] = []

    async def answer(_: web.Request) -> web.Response:
        given = current[0]
        return web.Response(status=given.status, body=given.body, headers=given.headers)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    async with served(application) as url:
        publisher = make_publisher(url, token="t", deadline=1)
        for given, error, message in answers:
            current[:] = [given]
            with pytest.raises(error, match=message):
                await publisher.publish("run-1", "a", {})
        await publisher.close()


MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("https://", {"token": "t"}, "url: "),
    ("https://u:p@g.example.com", {"token": "t"}, "leave out user"),
    ("https://g.example.com/?x", {"token": "t"}, "leave out user"),
    ("https://g.example.com", {}, "token: "),
    ("https://g.example.com", {"token": "t\n"}, "token: "),
    ("https://g.example.com", {"token": "t", "organization_id": "a\nb"}, "organization_id: "),
    ("https://g.example.com", {"token": "t", "min_replicas": 1}, "min_replicas: "),
    ("http://g.example.com", {"token": "t"}, "without TLS"),
    ("redis://localhost", {"token": "t"}, "token: "),
]


@pytest.mark.parametrize(("url", "options", "message"), MISTAKES)
def test_every_wrong_option_is_named(url: str, options: dict[str, Any], message: str) -> None:
    """Above all a token never leaves the machine without TLS, unless that is said."""
    for kind in (Publisher, SyncPublisher):
        with pytest.raises(ConfigurationError, match=message):
            kind(url, **options)
        kind("http://g.example.com", token="t", allow_http=True)


async def test_a_path_before_the_routes_is_kept(make_publisher: MakePublisher) -> None:
    """As of a proxy that serves gateways under a path."""
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.json_response({"ids": ["1-1"]}, status=201)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    async with served(application) as url:
        publisher = make_publisher(f"{url}/live/", token="t")
        assert await publisher.publish("run-1", "a", {}) == "1-1"
        await publisher.close()
    assert paths == ["/live/api/v1/sse/executions/run-1/events"]


def test_what_is_sent_together() -> None:
    """Consecutive events of one execution, as many as the gateway takes; but not what has a key of
    its own, nor a restart."""
    target = HttpTarget("https://g.example.com", "t", None, allow_http=False, min_replicas=0)

    def together(*events: tuple[str, int, bool, bool]) -> int:
        return target.most(
            Outgoing(execution_id, "a", b"x" * size, "", "k", has_key, restarts)
            for execution_id, size, has_key, restarts in events
        )

    small, keyed = ("run-1", 9, False, False), ("run-1", 9, True, False)
    restart = ("run-1", 9, False, True)
    assert together(*[small] * 3) == 3
    assert together(*[small] * 600) == 500
    assert together(small, small, ("run-2", 9, False, False), small) == 2
    assert together(small, keyed, small) == 1
    assert together(keyed, small) == 1
    assert together(small, small, restart) == 2
    assert together(restart, small) == 1
    assert together(*[("run-1", 2**19 - 1, False, False)] * 3) == 2
    assert together(("run-1", 2**21, False, False), small) == 1
