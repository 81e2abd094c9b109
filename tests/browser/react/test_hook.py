"""The React hook in a real React page, under StrictMode: its streams, and what it returns."""

from functools import partial
from typing import Any

from redis.asyncio import Redis

from gateway.bus.registry import register
from tests.browser.react.app import App, legacy, options, publish, token
from tests.conftest import RunningGateway, StartGateway
from tests.support import eventually


async def start(start_gateway: StartGateway, react_origin: str, **more: object) -> RunningGateway:
    """A gateway whose streams the application may read."""
    return await start_gateway(**{"ownership": "token", "cors_origins": react_origin, **more})


async def test_whole_run(
    start_gateway: StartGateway, redis: Redis, react_origin: str, app: App
) -> None:
    """A component sees a whole run, once, over one stream, although StrictMode mounts it twice; it
    has the events, the run, the status, no error, and the id of the last event."""
    gateway = await start(start_gateway, react_origin)
    await app.show(options("run-1", gateway.url))
    await app.shows("live")
    await publish(redis, 1)
    await publish(redis, 2, "step:completed", duration_ms=70)
    await app.shows("live", 1, 2)
    await publish(redis, 3, "execution:paused", reason="approval")
    await app.shows("paused", 1, 2, 3)
    await publish(redis, 4, "execution:completed")
    await app.shows("completed", 1, 2, 3, 4)
    shown = await app.shown()
    state = {"events", "run", "connection", "status", "error", "lastEventId"}
    assert set(shown) == {*state, "tryAgain"}
    assert [event["type"] for event in shown["events"]] == [
        *("step:started", "step:completed", "execution:paused", "execution:completed"),
    ]
    assert (shown["run"]["status"], shown["run"]["steps_completed"]) == ("completed", 1)
    [step] = shown["run"]["execution_logs"]
    assert step["duration_ms"] == 70
    assert shown["error"] is None
    assert shown["lastEventId"] == shown["events"][-1]["id"]
    await eventually(lambda: gateway.server.streams == 0)
    assert gateway.components.metrics.streams_opened == len(app.streams_asked) == 1
    assert app.tab.errors == []


async def test_renders(
    start_gateway: StartGateway, redis: Redis, react_origin: str, app: App
) -> None:
    """Rendering again, with another getToken each time, opens no new stream; a heartbeat, which
    changes nothing, renders nothing."""
    gateway = await start(start_gateway, react_origin, heartbeat_seconds=0.2)
    for number in range(1, 6):
        await app.show(options("run-1", gateway.url))
        await app.shows("live", *range(1, number))
        await publish(redis, number)
    await app.shows("live", *range(1, 6))
    beside = await gateway.open("run-1")
    for _ in range(5):
        await beside.expect("step:started")
    # By now nothing that was shown is still to be rendered.
    await beside.expect("heartbeat")
    renders = await app.value("renders.length")
    for _ in range(3):
        seen = await beside.next()
        assert seen is not None
        assert seen.event == "heartbeat"
    await publish(redis, 6)
    await app.shows("live", 1, 2, 3, 4, 5, 6)
    # StrictMode renders everything twice.
    assert await app.value("renders.length") == renders + 2
    assert len(app.streams_asked) == 1
    assert len(await app.value("asked")) == 1


async def test_many_components(
    start_gateway: StartGateway, redis: Redis, react_origin: str, app: App
) -> None:
    """Twenty components of one execution, of both forms, share one stream; one that comes later
    sees all; the stream outlives a change of page, and ends with the last of them."""
    gateway = await start(start_gateway, react_origin)
    many = [options("run-1", gateway.url, name=f"c{n}") for n in range(19)]
    last = legacy("run-1", token(), "acme", {"baseUrl": gateway.url})
    await app.show(*many)
    await app.shows("live", name="c0")
    await publish(redis, 1)
    await app.show(*many, last)
    await app.shows("connected", 1)
    for n in range(19):
        await app.shows("live", 1, name=f"c{n}")
    assert gateway.server.streams == 1
    await app.show(last)
    await eventually(lambda: app.value("Object.keys(shown).length === 1"))
    await publish(redis, 2)
    await app.shows("connected", 1, 2)
    assert gateway.server.streams == 1
    # Another page, of the same execution, in its place.
    await app.show({**last, "name": "another"})
    await app.shows("connected", 1, 2, name="another")
    await app.show()
    await eventually(lambda: gateway.server.streams == 0)
    assert gateway.components.metrics.streams_opened == len(app.streams_asked) == 1


async def test_another_id(
    start_gateway: StartGateway, redis: Redis, react_origin: str, app: App
) -> None:
    """An id of null opens nothing and is closed; another id follows the other execution, and no
    render shows it an event of the first; null again ends the stream."""
    gateway = await start(start_gateway, react_origin)
    await app.show(options(None, gateway.url))
    await app.shows("closed")
    assert await app.shown() == {
        "events": [],
        "run": None,
        "error": None,
        "lastEventId": None,
        "connection": "closed",
        "status": "closed",
        "tryAgain": None,  # A function.
    }
    assert app.streams_asked == []
    await publish(redis, 1)
    await publish(redis, 2, run="run-2")
    for number in (1, 2):
        await app.show(options(f"run-{number}", gateway.url))
        await app.shows("live", number)
    await eventually(lambda: gateway.server.streams == 1)
    renders = await app.value("renders")
    of_the_second = [numbers for _, [run, _], numbers in renders if run == "run-2"]
    assert [2] in of_the_second
    assert all(numbers in ([], [2]) for numbers in of_the_second)
    await app.show(options(None, gateway.url))
    await app.shows("closed")
    await eventually(lambda: gateway.server.streams == 0)
    assert gateway.components.metrics.streams_opened == 2


async def test_token_that_comes_later(
    start_gateway: StartGateway, redis: Redis, react_origin: str, app: App
) -> None:
    """Without a token, as applications render first, it is connecting and asks for no stream; with
    one, or once it is enabled, the stream opens at once, in both forms."""
    gateway = await start(start_gateway, react_origin)
    await publish(redis, 1)
    await app.show(
        options("run-1", gateway.url, token="", lastEventId="x"),
        legacy("run-1", "", "acme", {"baseUrl": gateway.url}, name="two"),
        options("run-1", gateway.url, name="three", enabled=False),
    )
    await app.shows("closed", name="three")
    for name in ("one", "two"):
        await app.shows("connecting", name=name)
    await eventually(lambda: app.value("shown.one.error?.code === 'no_token'"))
    # Each makes the next wait longer, up to half a minute.
    for _ in range(8):
        before = await app.value("asked.length")
        await app.value("dispatchEvent(new Event('online'))")
        await eventually(partial(app.value, f"asked.length > {before}"))
    assert app.streams_asked == []
    await app.show(
        options("run-1", gateway.url, lastEventId="x"),
        legacy("run-1", token(), "acme", {"baseUrl": gateway.url}, name="two"),
        options("run-1", gateway.url, name="three", enabled=True),
    )
    await app.shows("live", 1)
    await app.shows("connected", 1, name="two")
    await app.shows("live", 1, name="three")
    # They share it, as tabs do.
    assert len(app.streams_asked) == 1


async def test_another_organization(
    start_gateway: StartGateway, redis: Redis, react_origin: str, app: App
) -> None:
    """With another organization, in either form, no render shows an event of the first one, not
    even where the execution's id stays."""
    gateway = await start(
        start_gateway, react_origin, ownership="registry", ownership_wait_seconds=0.5
    )
    await register(redis, "run-1", "acme")
    await publish(redis, 1)
    other = token("other")
    for component, closed in (
        (options("run-1", gateway.url, organizationId="other", token=other), "closed"),
        (legacy("run-1", other, "other", {"baseUrl": gateway.url}), "disconnected"),
    ):
        await app.show(options("run-1", gateway.url))
        await app.shows("live", 1)
        await app.show(component)
        await app.shows(closed)
    renders = await app.value("renders")
    assert [1] in [numbers for _, [_, organization], numbers in renders if organization == "acme"]
    assert not any(numbers for _, [_, whose], numbers in renders if whose == "other")


async def test_token_of_who_is_there(
    start_gateway: StartGateway, redis: Redis, react_origin: str, app: App
) -> None:
    """The token of the component that rendered last is used; after that has left, the token of one
    which is still there, also before that renders again; and always the one given last."""
    gateway = await start(start_gateway, react_origin)

    def quiet(name: str, ttl_seconds: int) -> dict[str, Any]:
        given = token(ttl_seconds=ttl_seconds)
        return {**options("run-1", gateway.url, name, token=given), "hook": "Quiet"}

    async def reconnect() -> None:
        for network in ("offline", "online"):
            await app.value(f"dispatchEvent(new Event('{network}'))")

    async def asked(one: dict[str, Any]) -> None:
        await eventually(lambda: app.value(f"asked.at(-1)[1] === '{one['token']}'"))

    # Near its end another token is asked for at every request.
    early = quiet("early", 9)
    await app.show(early)
    await app.shows("live", name="early")
    # And once a minute before its end, here in 8 s, which what comes before that may take.
    late = quiet("late", 68)
    await app.show(early, late)
    await app.shows("live", name="late")
    await reconnect()
    await asked(late)
    # Through the stream that was opened with it: what was to be rendered before that has been.
    await publish(redis, 1)
    for name in ("early", "late"):
        await app.shows("live", 1, name=name)
    renders = await app.value("renders.length")
    await app.show(early)
    await eventually(lambda: app.value("!shown.late"))
    assert await app.value("renders.length") == renders
    before = await app.value("asked.length")
    await eventually(lambda: app.value(f"asked.length > {before}"))
    assert (await app.value("asked"))[before] == ["early", early["token"]]
    early = quiet("early", 3600)
    await app.show(early)
    await reconnect()
    await asked(early)
    await app.shows("live", 1, name="early")


async def test_given_up(
    start_gateway: StartGateway, redis: Redis, react_origin: str, app: App
) -> None:
    """Where the gateway refuses the token it is closed, with the reason; a component that comes
    later tries again, for all of them."""
    gateway = await start(start_gateway, react_origin)
    refused = options("run-1", gateway.url, token="not.a.token")
    await app.show(refused)
    await app.shows("closed")
    assert await app.value("shown.one.error.status") == 401
    await publish(redis, 1)
    await app.show(refused, options("run-1", gateway.url, name="later"))
    await app.shows("live", 1, name="later")
    await app.shows("live", 1)
