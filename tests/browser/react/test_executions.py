"""The hooks for more than one execution, in a real React page under StrictMode."""

from typing import Any

from redis.asyncio import Redis

from gateway.publisher import Publisher
from tests.browser.react.app import App, token
from tests.browser.react.test_hook import start
from tests.conftest import StartGateway
from tests.support import eventually


def several(base: str, *ids: str, name: str = "one", **more: Any) -> dict[str, Any]:
    """A component that follows these executions, or none."""
    given = {"baseUrl": base, "organizationId": "acme", "token": token(), **more}
    return {"hook": "Several", "name": name, "ids": list(ids) or None, **given}


async def runs(app: App, name: str = "one") -> list[list[Any]]:
    """Of each execution that the component shows: its id, state, status, and how many steps."""
    shown: list[list[Any]] = await app.value(
        f"shown.{name}.executions.map(({{execution_id, state, run}}) =>"
        " [execution_id, state, run.status, run.execution_logs.length])"
    )
    return shown


async def test_several_runs_share_one_stream_and_go_on_through_a_restart(
    start_gateway: StartGateway, redis: Redis, redis_url: str, react_origin: str, app: App
) -> None:
    """Components with the same ids have one stream, which a rendering does not open again. After a
    restart of the gateway each run has each event once, and the set is over with the last."""
    gateway = await start(start_gateway, react_origin)
    components = [several(gateway.url, "run-1", "run-2", name=name) for name in ("one", "two")]
    async with Publisher(redis_url) as publisher:

        async def step(run: str, node: str) -> None:
            await publisher.publish(run, "step:started", {"node_id": node})

        await app.show(*components)
        await eventually(lambda: app.value("shown.two?.connection === 'live'"))
        await step("run-1", "a")
        await step("run-2", "a")
        await step("run-2", "b")
        both = [["run-1", "following", "running", 1], ["run-2", "following", "running", 2]]
        await eventually(lambda: _are(app, both))
        await app.show(*components)
        assert len(app.streams_asked) == 1
        await gateway.server.stop()
        await eventually(lambda: app.value("shown.one.connection === 'reconnecting'"))
        await step("run-1", "b")
        await publisher.execution_failed("run-2", error_message="no")
        await start(start_gateway, react_origin, port=int(gateway.url.rpartition(":")[2]))
        await app.value("dispatchEvent(new Event('online'))")
        after = [["run-1", "following", "running", 2], ["run-2", "ended", "failed", 2]]
        await eventually(lambda: _are(app, after))
        assert await app.value("shown.one === shown.two || shown.one.executions[0].run.complete")
        await publisher.execution_completed("run-1")
        await eventually(lambda: app.value("shown.two.connection === 'closed'"))
        assert await app.value("shown.two.error") is None
        assert [one[1:3] for one in await runs(app, "two")] == [
            ["ended", "completed"],
            ["ended", "failed"],
        ]


async def _are(app: App, wanted: list[list[Any]]) -> bool:
    return await runs(app) == wanted


async def test_a_list_follows_its_filter_and_nothing_without_an_organization(
    start_gateway: StartGateway, redis_url: str, react_origin: str, app: App
) -> None:
    """Another filter is another stream; the list is null until it is known; without an organization
    or with no ids nothing is asked for."""
    gateway = await start(start_gateway, react_origin, ownership="registry")
    base = {"hook": "List", "name": "one", "baseUrl": gateway.url, "token": token()}
    await app.show({**base, "organizationId": None}, several(gateway.url, name="none"))
    await eventually(lambda: app.value("shown.one?.connection === 'closed'"))
    assert await app.value("shown.one.executions") is None
    assert await app.value("shown.none.executions") == []
    assert app.streams_asked == []
    async with Publisher(redis_url) as publisher:
        await publisher.register("run-1", "acme", "invoices")
        await publisher.publish("run-1", "step:started", {"node_id": "a"})
        ids = "shown.one.executions?.map((one) => `${one.execution_id} ${one.status}`).join()"
        await app.show({**base, "organizationId": "acme"})
        await eventually(lambda: app.value(f"{ids} === 'run-1 running'"))
        await app.show({**base, "organizationId": "acme", "status": "failed"})
        await eventually(lambda: app.value(f"{ids} === ''"))
        await publisher.execution_failed("run-1", error_message="no")
        await eventually(lambda: app.value(f"{ids} === 'run-1 failed'"))
        assert app.tab.errors == []
