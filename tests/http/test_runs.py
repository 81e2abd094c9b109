"""The run document over HTTP: what a poll gets, and who gets none."""

import asyncio
import json

import aiohttp
import pytest
import yarl
from redis.asyncio import Redis

from gateway.bus.registry import register
from gateway.contract.keys import events_key, meta_key
from gateway.contract.scripts import HistoryLimits
from gateway.events.envelope import with_id
from gateway.events.ids import parse_id
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.events.folding import fold
from tests.http.conftest import Client, path, poll
from tests.http.histories import Producer
from tests.support import free_port


async def test_without_logs(client: Client, producer: Producer) -> None:
    """A poll gets the state of the run, and neither logs nor events unless it asks for them."""
    await producer.steps(["n1"])
    last = await producer.publish("step:started", node_id="n2")
    document = await poll(client)
    assert list(document) == [
        "id", "workflow_id", "status", "started_at", "completed_at", "duration_ms",
        "current_node", "steps_completed", "error_message", "generated_document_id",
        "last_event_id", "complete", "events_missing", "step_events_total",
    ]  # fmt: skip
    assert document["id"] == "run-1"
    assert document["workflow_id"] == "flow-1"
    assert document["status"] == "running"
    assert document["current_node"] == "n2"
    assert document["steps_completed"] == 1
    assert document["last_event_id"] == last


@pytest.mark.parametrize("word", ["true", "True", "1"])
async def test_with_logs(client: Client, producer: Producer, word: str) -> None:
    """With logs, it is what `fold` makes of the envelopes, and these."""
    ids = await producer.steps(["n1", "n2"])
    ids.append(await producer.publish("execution:completed", generated_document_id="d-1"))
    document = await poll(client, include_logs=word)
    assert [event["id"] for event in document["events"]] == ids
    assert document.pop("step_events_total") == {"started": 2, "completed": 2, "failed": 0}
    assert document == fold(
        document["events"], execution_id="run-1", workflow_id="flow-1", include_logs=True
    )
    assert document["status"] == "completed"
    assert [step["output"] for step in document["execution_logs"]] == [{"of": "n1"}, {"of": "n2"}]


@pytest.mark.parametrize("word", ["false", "0", "", "no"])
async def test_logs_not_asked_for(client: Client, word: str) -> None:
    """Any other `include_logs` means none."""
    assert "events" not in await poll(client, include_logs=word)


async def test_no_events_yet(start_gateway: StartGateway, redis: Redis) -> None:
    """A registered execution without events is pending."""
    gateway = await start_gateway(ownership="registry")
    await register(redis, "run-1", "acme", "flow-1")
    async with gateway.session.get(gateway.url + path(), headers=credentials()) as response:
        document = await response.json()
    assert document["status"] == "pending"
    assert document["last_event_id"] is None


UNUSUAL = [
    b'{"type":"a","data":{"price":1.10,"big":123456789012345678901234567890,"x":1E2}}',
    b'{"type":"a","data":"\\ud800 \\u00e9"}',
    '{"data":{"a":"\u2028"}, "type" : "início"}'.encode(),
    b'{"type":"step:completed","data":{"node_id":"n1","output":' + b"[" * 600 + b"]" * 600 + b"}}",
]


@pytest.mark.parametrize("payload", UNUSUAL, ids=["numbers", "half a pair", "spaces", "deep"])
async def test_bytes_are_kept(client: Client, producer: Producer, payload: bytes) -> None:
    """An envelope is the producer's bytes and the id: numbers and escapes stay as they were."""
    event_id = parse_id(await producer.publish_raw("a", payload))
    assert event_id is not None
    url = path() + "?include_logs=true"
    async with client.get(url, headers=credentials()) as response:
        body = await response.read()
    assert b'"events":[' + with_id(payload, event_id) + b"]}" in body
    json.loads(body)


async def test_history_of_many_pages(client: Client, producer: Producer) -> None:
    """A history larger than a page is folded whole, in order."""
    ids = [
        await producer.publish("step:completed", node_id=f"n{number}", output="x" * 300_000)
        for number in range(11)
    ]
    assert (await poll(client))["steps_completed"] == 11
    document = await poll(client, include_logs="true")
    assert [event["id"] for event in document["events"]] == ids
    assert document["last_event_id"] == ids[-1]


async def test_late_events(client: Client, producer: Producer) -> None:
    """What is published after the end shows in the logs and changes nothing about the run."""
    await producer.publish("step:started", node_id="n1")
    await producer.publish("execution:failed", error_message="n1 has failed")
    late = await producer.publish("step:failed", node_id="n1", error="no answer")
    await producer.publish("execution:completed")
    last = await producer.publish("step:started", node_id="n2")
    document = await poll(client, include_logs="true")
    assert document["status"] == "failed"
    assert document["current_node"] is None
    assert document["execution_logs"][0]["error"] == "no answer"
    assert document["events"][2]["id"] == late
    assert document["last_event_id"] == last


async def test_what_ended_the_execution(client: Client, redis: Redis) -> None:
    """The run ends with the event that its history says has ended it: the one after which no
    stream goes on, whatever the types are that this gateway takes for terminal."""
    producer = Producer(redis, terminal_types=("over",))
    await producer.publish("execution:failed")
    assert (await poll(client))["status"] == "running"
    await producer.publish("over", execution_time_ms=7)
    document = await poll(client)
    assert (document["status"], document["duration_ms"]) == ("ended", 7)


async def test_trimmed_history(client: Client, redis: Redis) -> None:
    """Of a history that was trimmed, the document is folded from what is kept."""
    producer = Producer(redis, limits=HistoryLimits(max_bytes=2000))
    for number in range(20):
        await producer.publish("step:completed", node_id=f"n{number}", output="x" * 300)
    document = await poll(client, include_logs="true")
    kept = len(document["events"])
    assert 0 < kept < 20
    assert document["steps_completed"] == kept
    assert document["execution_logs"][-1]["node_id"] == "n19"


async def test_end_outlives_its_history(client: Client, redis: Redis, producer: Producer) -> None:
    """When the history has expired, the document still tells how the execution ended; an event
    that came after that does not make it run again."""
    await producer.publish("step:started", node_id="n1")
    last = await producer.publish("execution:cancelled")
    await redis.delete(events_key("run-1"))
    document = await poll(client, include_logs="true")
    assert (document["status"], document["last_event_id"]) == ("canceled", last)
    assert document["events"] == []
    late = await producer.publish("step:started", node_id="n2")
    document = await poll(client, include_logs="true")
    assert (document["status"], document["last_event_id"]) == ("canceled", late)
    assert document["current_node"] is None


async def test_what_is_no_event(client: Client, redis: Redis, producer: Producer) -> None:
    """What somebody else wrote into the history and is no event is left out."""
    first = await producer.publish("step:started", node_id="n1")
    await producer.publish_raw("", b"{nonsense")
    last = await producer.publish("step:completed", node_id="n1")
    document = await poll(client, include_logs="true")
    assert [event["id"] for event in document["events"]] == [first, last]
    await producer.publish_raw("execution:failed", b"{nonsense")
    assert (await poll(client))["status"] == "failed"


@pytest.mark.parametrize("ownership", ["registry", "token"])
async def test_wrong_workflow(
    start_gateway: StartGateway, redis: Redis, producer: Producer, ownership: str
) -> None:
    """Where it is known whose run it is, another workflow's path is a 404; else it is echoed. `-`
    stands for whichever it is."""
    gateway = await start_gateway(ownership=ownership)
    await register(redis, "run-1", "acme", "flow-1")
    await register(redis, "run-2", "acme")
    answers = {}
    urls = [path(), path(workflow_id="flow-2"), path("run-2", "flow-2")]
    for url in [*urls, path(workflow_id="-"), path("run-2", "-")]:
        async with gateway.session.get(gateway.url + url, headers=credentials()) as response:
            answers[url] = response.status, (await response.json()).get("workflow_id")
    assert list(answers.values()) == [
        (200, "flow-1"), (404, None), (200, "flow-2"), (200, "flow-1"), (200, "-"),
    ]  # fmt: skip


async def test_refused_as_the_stream_refuses(start_gateway: StartGateway, redis: Redis) -> None:
    """Unknown and foreign executions, missing and foreign credentials: a poll and a stream are
    get the same answer, byte for byte."""
    gateway = await start_gateway(ownership_wait_seconds=0.5)
    await register(redis, "mine", "acme", "flow-1")
    await register(redis, "foreign", "other", "flow-1")
    cases: list[tuple[str, dict[str, str], int]] = [
        ("unknown", credentials(), 404),
        ("foreign", credentials(), 404),
        ("mine", credentials("other"), 404),
        ("mine", {}, 401),
        ("mine", {**credentials(), "Authorization": "Bearer x"}, 401),
        ("mine", {"Authorization": credentials()["Authorization"]}, 400),
        ("mine", {**credentials(), "X-Organization-ID": "other"}, 403),
        ("no%20id", credentials(), 400),
    ]
    for execution_id, headers, status in cases:
        answers = set()
        for url in (gateway.url + path(execution_id), gateway.stream_url(execution_id)):
            encoded = yarl.URL(url, encoded=True)
            async with gateway.session.get(encoded, headers=headers) as response:
                challenge = response.headers.get("WWW-Authenticate")
                answers.add((response.status, challenge, await response.text()))
        [(seen, _, _)] = answers
        assert seen == status, execution_id


async def test_credentials_in_the_query(client: Client) -> None:
    """Credentials may be in the query, as for the stream."""
    given = credentials()
    query = {
        "Authorization": given["Authorization"],
        "organization_id": given["X-Organization-ID"],
    }
    async with client.get(path(), params=query) as response:
        assert response.status == 200


async def test_redis_away(start_gateway: StartGateway) -> None:
    """While Redis cannot be asked, a poll is a 503 with `Retry-After`."""
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    for ownership in ("registry", "token"):
        gateway = await start_gateway(
            wait=False, ownership=ownership, redis_url=nowhere, ownership_wait_seconds=0.5
        )
        async with gateway.session.get(gateway.url + path(), headers=credentials()) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
            document = await response.json()
            assert document["error"] == "unavailable"
            assert "Redis cannot be reached" in document["message"]


async def test_head(gateway: RunningGateway, redis: Redis) -> None:
    """HEAD gets the headers of GET and no body, and the connection's next response is whole."""
    await Producer(redis).steps(["n1"])
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(gateway.url, connector=connector) as session:
        async with session.head(path(), headers=credentials()) as head:
            assert (head.status, await head.read()) == (200, b"")
        async with session.get(path(), headers=credentials()) as response:
            assert len(await response.read()) == int(head.headers["Content-Length"])
            assert head.headers["ETag"] == response.headers["ETag"]


@pytest.mark.parametrize("workflow_id", ["caf%C3%A9", "a%20b%22%5C", "%00%0D%0A", "%ED%A0%80"])
async def test_odd_workflow_id(client: Client, workflow_id: str) -> None:
    """A workflow id is anybody's text: it comes back as JSON, whatever it holds."""
    url = yarl.URL(str(client.make_url(path("run-1", workflow_id))), encoded=True)
    async with client.session.get(url, headers=credentials()) as response:
        assert response.status == 200
        decoded = yarl.URL(f"/{workflow_id}", encoded=True).path.removeprefix("/")
        assert (await response.json())["workflow_id"] == decoded


async def test_many_polls_at_once(client: Client, redis: Redis, producer: Producer) -> None:
    """Polls wait for one another's memory, and all of them get their answer."""
    ids = await producer.steps([f"n{number}" for number in range(50)])
    documents = await asyncio.gather(*(poll(client, include_logs="true") for _ in range(40)))
    assert all([event["id"] for event in each["events"]] == ids for each in documents)
    assert await redis.exists(meta_key("run-1"))
