"""The memory that bodies take while they arrive: an organization's share, and that of all."""

from functools import partial

from redis.asyncio import Redis

from tests.conftest import StartGateway
from tests.harness.raw import Connection
from tests.publish.conftest import Producer, worker
from tests.support import eventually

EVENT = {"type": "a"}


async def test_slow_bodies_take_no_other_organizations_room(
    start_gateway: StartGateway, redis: Redis
) -> None:
    """16 MiB of one organization under way: its next call is 429, that of another one is published.
    64 MiB of four: a fifth one is 503. Nothing of a refused call is published, and what a body took
    is free as soon as its connection ends."""
    gateway = await start_gateway(publish=True, header_timeout_seconds=60)
    producers = {name: Producer(gateway, worker(name)) for name in ("acme", "b", "c", "d", "e")}
    slow: list[Connection] = []

    async def fill(name: str, refusal: tuple[int, str]) -> None:
        headers = "".join(f"{one}: {value}\r\n" for one, value in worker(name).items())
        head = (
            f"POST /api/v1/sse/executions/{name}/events HTTP/1.1\r\nHost: x\r\n{headers}"
            f"Content-Type: application/json\r\nContent-Length: {2**20}\r\n"
            "Expect: 100-continue\r\n\r\n"
        )
        for _ in range(16):
            slow.append(await Connection.open(gateway.url))
            slow[-1].send(head)
            # A call of the test that is under way at the same time could take the place of it.
            assert (await slow[-1].hear(quiet=0.0)).statuses == [100]

        async def is_full() -> bool:
            status, document, answer = await producers[name].call("POST", f"{name}/events", EVENT)
            if status == 201:
                return False
            assert (status, document["error"]) == refusal
            assert "Retry-After" in answer.headers
            return True

        await eventually(is_full)
        await redis.delete(f"sse:{{{name}}}:events")

    try:
        for name in ("acme", "b", "c", "d"):
            await fill(name, (429, "publish_limit"))
            if name != "d":
                assert (await producers["e"].publish(EVENT, "e"))[0] == 201
        await redis.delete("sse:{e}:events")
        status, document, answer = await producers["e"].call("POST", "e/events", EVENT)
        assert (status, document["error"]) == (503, "publish_busy")
        assert "Retry-After" in answer.headers
        assert not await redis.exists(*(f"sse:{{{name}}}:events" for name in producers))
    finally:
        for connection in slow:
            connection.abort()

    async def has_room(name: str) -> bool:
        return (await producers[name].publish(EVENT, name))[0] == 201

    for name in producers:
        await eventually(partial(has_room, name))
