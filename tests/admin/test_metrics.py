"""`/metrics`: figures are what really happened, labels are bounded, and no token is there."""

import random
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from gateway import __version__
from gateway.events.sse_encoder import CloseReason
from tests.admin.support import frozen_reader
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.support import SECRET, cancel_task, eventually, producer_message

Figures = dict[str, float]


async def figures(gateway: RunningGateway) -> Figures:
    """Every sample by its name as Prometheus writes it, without our prefix."""
    async with gateway.session.get(f"{gateway.server.admin_url}/metrics") as response:
        assert response.status == 200
        text = await response.text()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            name = sample.name.removeprefix("sse_gateway_") + (f"{{{labels}}}" if labels else "")
            found[name] = sample.value
    return found


@pytest.fixture
async def watched(start_gateway: StartGateway) -> RunningGateway:
    """A gateway with an admin port."""
    return await start_gateway(ownership="token", admin_port=0)


async def test_a_stream(watched: RunningGateway, redis: Redis) -> None:
    """Streams, events and bytes are counted as they were: opened, received, recorded, delivered,
    dropped, closed by reason."""
    before = await figures(watched)
    assert before["streams_open"] == before["streams_opened_total"] == 0
    readers = [await watched.open("run-1") for _ in range(3)]
    leaving = await watched.open("run-1")
    assert (await figures(watched))["streams_open"] == 4
    leaving.response.close()
    await eventually(lambda: len(watched.components.hub) == 3)
    for event_type in ("step:started", "step:completed", "execution:completed"):
        await redis.publish("execution:run-1", producer_message(event_type))
    await redis.publish("execution:run-1", b"no event")
    read = 0
    for reader in readers:
        seen = await reader.rest()
        assert len(seen) == 3
        read += sum(len(one.data) for one in seen)
    await eventually(lambda: len(watched.components.hub) == 0)
    after = await figures(watched)
    assert after["streams_open"] == 0
    assert after["streams_opened_total"] == 4
    assert after['streams_closed_total{reason="completed"}'] == 3
    assert after['streams_closed_total{reason="gone"}'] == 1
    assert after["events_received_total"] == after["events_recorded_total"] == 3
    assert after["events_delivered_total"] == 9
    assert after['events_dropped_total{where="malformed"}'] == 1
    assert after["bytes_delivered_total"] > read
    assert after["feed_lag_seconds_count"] >= 1
    assert after["feed_lag_seconds_sum"] < 15


async def test_bytes_of_open_streams(watched: RunningGateway, redis: Redis) -> None:
    """Bytes count while a stream is open, and its end takes none away."""
    reader = await watched.open("run-1")
    opened = (await figures(watched))["bytes_delivered_total"]
    assert opened > 0
    await redis.publish("execution:run-1", producer_message("log", text="x" * 10_000))
    await reader.expect("log")
    live = (await figures(watched))["bytes_delivered_total"]
    assert live >= opened + 10_000
    reader.response.close()
    await eventually(lambda: len(watched.components.hub) == 0)
    assert (await figures(watched))["bytes_delivered_total"] == live


async def test_refusals(watched: RunningGateway) -> None:
    """Refusals count by error code, and what a client makes up is no label."""
    for _ in range(2):
        await watched.session.get(watched.stream_url("run-1"))
    await watched.get("run-1", X_Organization_ID="other")
    await watched.session.get(f"{watched.url}/made-up-by-a-client")
    found = await figures(watched)
    refused = {
        name: value for name, value in found.items() if name.startswith("refusals_total") and value
    }
    assert refused == {
        'refusals_total{code="token_missing"}': 2,
        'refusals_total{code="organization_forbidden"}': 1,
        'refusals_total{code="http"}': 1,
    }
    assert found["streams_opened_total"] == 0


async def test_every_reason_from_the_start(watched: RunningGateway) -> None:
    """Every reason has a series from the first scrape on: a rate needs a value to begin from."""
    found = await figures(watched)
    for reason in ("completed", "gone", *CloseReason):
        assert found[f'streams_closed_total{{reason="{reason}"}}'] == 0
    for where in ("malformed", "unrecorded", "history"):
        assert found[f'events_dropped_total{{where="{where}"}}'] == 0


async def test_slow_reader(start_gateway: StartGateway, redis: Redis) -> None:
    """A reader that does not read shows in the queues, then as an overrun, and as the reason of its
    end."""
    gateway = await start_gateway(
        ownership="token",
        admin_port=0,
        send_buffer_bytes=4096,
        queue_events=5,
        write_timeout_seconds=1.5,
    )
    await frozen_reader(gateway, redis)
    seen: list[Figures] = []

    async def fills() -> bool:
        await redis.publish("execution:run-1", producer_message("log", text="x" * 400_000))
        seen.append(await figures(gateway))
        return seen[-1]["streams_slow"] == 1 and seen[-1]["queue_events_max"] >= 1

    await eventually(fills)
    assert seen[-1]["queue_bytes"] >= 400_000
    assert seen[-1]["queue_events"] == seen[-1]["queue_events_max"]

    async def cut_off() -> bool:
        found = await figures(gateway)
        return found['streams_closed_total{reason="slow_reader"}'] == 1

    await eventually(cut_off)
    assert (await figures(gateway))["queue_bytes"] == 0


async def test_health_as_figures(watched: RunningGateway) -> None:
    """Ready, Redis, canary, tasks and build are figures too."""
    found = await figures(watched)
    assert found["ready"] == found["redis_connected"] == 1
    assert found["draining"] == found["tasks_dead"] == found["feed_reconnects_total"] == 0
    assert 0 <= found["canary_age_seconds"] < 15
    assert found["tasks"] > 5
    [build] = [name for name in found if name.startswith("build_info")]
    assert f'version="{__version__}"' in build
    assert found["process_open_fds"] > 5

    async def loop_was_measured() -> bool:
        return (await figures(watched))["loop_lag_seconds_sum"] > 0

    await eventually(loop_was_measured)
    cancel_task("feed")

    async def dead() -> bool:
        found = await figures(watched)
        return (found["ready"], found["tasks_dead"]) == (0, 1)

    await eventually(dead)


async def test_openmetrics(watched: RunningGateway) -> None:
    """A scrape that accepts OpenMetrics gets it, and it is valid."""
    headers = {"Accept": "application/openmetrics-text; version=1.0.0"}
    url = f"{watched.server.admin_url}/metrics"
    async with watched.session.get(url, headers=headers) as response:
        assert response.content_type == "application/openmetrics-text"
        text = await response.text()
    assert "sse_gateway_streams_open" in {family.name for family in open_metrics(text)}  # type: ignore[no-untyped-call]


async def test_no_token(watched: RunningGateway, redis: Redis) -> None:
    """Neither metrics nor the list of streams show a token, a ticket or the secret."""
    bearer = credentials()["Authorization"]
    await watched.get("run-1", Authorization=bearer)
    query = {"Authorization": bearer, "organization_id": "acme"}
    watched.responses.append(await watched.session.get(watched.stream_url("run-1"), params=query))
    await watched.session.get(watched.stream_url("run-1"), params={"Authorization": "Bearer hush"})
    shown = ""
    for path in ("/metrics", "/streams"):
        async with watched.session.get(f"{watched.server.admin_url}{path}") as response:
            shown += await response.text()
    assert '"matching":2' in shown
    for secret in (bearer.split(".")[-1], SECRET, "hush", "eyJ"):
        assert secret not in shown


async def test_audit_under_churn(watched: RunningGateway, redis: Redis) -> None:
    """Under churn `streams_open`, the hub's entries, what `/streams` lists and the sockets that the
    kernel has on the port are the same number, however streams end: by their reader, by their
    execution, by a refusal."""
    chance = random.Random(6)
    readers: list[aiohttp.ClientResponse] = []
    for turn in range(6):
        for _ in range(chance.randrange(10, 30)):
            readers.append(await watched.get(f"run-{turn}-{chance.randrange(3)}"))
            if chance.random() < 0.2:
                refused = await watched.get("run-1", X_Organization_ID="no", Connection="close")
                assert refused.status == 403
        for reader in chance.sample(readers, len(readers) // 3):
            readers.remove(reader)
            reader.close()
        ended = f"run-{turn}-{chance.randrange(3)}"
        await redis.publish(f"execution:{ended}", producer_message("execution:completed"))
        for reader in [one for one in readers if f"/{ended}/" in str(one.url)]:
            readers.remove(reader)
            await reader.read()
        await audited(watched, len(readers))
    assert readers
    for reader in readers:
        reader.close()
    await audited(watched, 0)


async def audited(gateway: RunningGateway, expected: int) -> None:
    """Wait until all who count streams count *expected*."""

    async def counts() -> list[float]:
        found = await figures(gateway)
        closed = [found[name] for name in found if name.startswith("streams_closed_total")]
        async with gateway.session.get(f"{gateway.server.admin_url}/streams") as response:
            listed = await response.json()
        return [
            found["streams_open"],
            found["streams_opened_total"] - sum(closed),
            len(list(gateway.components.hub)),
            listed["open"],
            len(listed["streams"]),
            _sockets(urlsplit(gateway.url).port or 0),
        ]

    async def same() -> bool:
        return set(await counts()) == {expected}

    try:
        await eventually(same)
    except AssertionError as error:
        error.add_note(f"{expected} expected, counted {await counts()}")
        raise


def _sockets(port: int) -> int:
    """The connections that the kernel has on *port*: established, or half closed by the peer."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return len(
        [one for one in fields if one[1].endswith(f":{port:04X}") and one[3] in ("01", "08")]
    )
