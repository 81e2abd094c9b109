"""Events that a worker publishes by HTTP."""

from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from gateway.bus.revocations import revoke
from gateway.contract.keys import events_key, meta_key
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.history import append
from tests.harness.raw import say
from tests.publish.conftest import Producer, worker
from tests.support import eventually, producer_message

NDJSON = {"Content_Type": "application/x-ndjson"}


def event(number: int = 1) -> dict[str, Any]:
    return {"type": "step:started", "data": {"n": number}, "timestamp": "2026-01-31T12:00:00Z"}


async def kept(redis: Redis, run: str = "run-1") -> list[tuple[str, bytes]]:
    """Ids and payloads of a history."""
    found: Any = await redis.xrange(events_key(run))
    return [(event_id.decode(), fields[b"event"]) for event_id, fields in found]


async def test_arrives(gateway: RunningGateway, producer: Producer) -> None:
    """A page that has the execution open shows what is published, with the ids of the answer."""
    status, document = await producer.publish(event(1))
    assert status == 201
    reader = await gateway.open("run-1")
    status, more = await producer.publish([event(2), event(3)])
    assert status == 201
    ids = [*document["ids"], *more["ids"]]
    assert len(ids) == 3
    for number, event_id in enumerate(ids, 1):
        frame = await reader.expect("step:started")
        assert (frame.id, frame.json()["data"]["n"]) == (event_id, number)


async def test_bytes_stay(producer: Producer, redis: Redis) -> None:
    """Each event is kept as it was written, whichever way it came; ids of one call are consecutive;
    one without timestamp gets the gateway's time."""
    first = (
        b'{"type":"a","timestamp":1,"data":{"x":1.10,"y":1180591620717411303424,"z":"\xc3\xa9]"}}'
    )
    second = b'{ "type" : "b", "timestamp":2, "data":{"x":[1,[2]],"y":"\\"]}"} }'
    given = []
    for body, headers in (
        (first, {}),
        (b" [%b ,\n%b]\n" % (first, second), {}),
        (b"%b\r\n\n%b\n" % (first, second), NDJSON),
    ):
        status, document = await producer.publish(body, **headers)
        assert status == 201
        given += document["ids"]
    history = await kept(redis)
    assert [one for _, one in history] == [first, first, second, first, second]
    assert [one for one, _ in history] == given
    assert [one.partition("-")[2] for one in given] == ["1", "2", "3", "4", "5"]
    await producer.publish({"type": "a", "timestamp": None})
    [*_, (_, last)] = await kept(redis)
    assert last.startswith(b'{"timestamp":"20')
    assert last.endswith(b'Z","type":"a"}')


REFUSED = "malformed_event"
BAD_KEY = (400, "malformed_idempotency_key", None)
BAD_TYPE = (415, "unsupported_media_type", None)
ONE = b'{"type":"a"}'

BAD: dict[str, tuple[bytes, dict[str, str], tuple[int, str, int | None]]] = {
    "no JSON": (b"{", {}, (400, REFUSED, 0)),
    "no UTF-8": (b'{"type":"\xff"}', {}, (400, REFUSED, 0)),
    "no object": (b'["a"]', {}, (400, REFUSED, 0)),
    "a constant": (b'{"type":"a","data":{"x":NaN}}', {}, (400, REFUSED, 0)),
    "no type": (b'[{"type":"a"},{"data":{}}]', {}, (400, REFUSED, 1)),
    "the gateway's type": (b'{"type":"stream:closing"}', {}, (400, REFUSED, 0)),
    "two lines of a type": (b'{"type":"a\\nb"}', {}, (400, REFUSED, 0)),
    "an id": (b'[%b,%b,{"type":"a","id":"1-1"}]' % (ONE, ONE), {}, (400, REFUSED, 2)),
    "an id that is escaped": (b'{"type":"a","\\u0069d":7}', {}, (400, REFUSED, 0)),
    "half an array": (b"[%b," % ONE, {}, (400, REFUSED, 1)),
    "no comma": (b"[%b %b]" % (ONE, ONE), {}, (400, REFUSED, 1)),
    "more than an array": (b"[%b] 1" % ONE, {}, (400, REFUSED, 1)),
    "deep": (b"[" * 100_000, {}, (400, REFUSED, 0)),
    "a long number": (b'[{"type":"a","data":%b}]' % (b"1" * 9000), {}, (400, REFUSED, 0)),
    "a line": (b'%b\n{"type":' % ONE, NDJSON, (400, REFUSED, 1)),
    "nothing": (b"", {}, (400, REFUSED, None)),
    "an empty array": (b"[]", {}, (400, REFUSED, None)),
    "empty lines": (b"\n \n", NDJSON, (400, REFUSED, None)),
    "a large event": (b'{"type":"a","data":"%b"}' % (b"x" * 5000), {}, (400, REFUSED, 0)),
    "many": (b'{"type":"a"}\n' * 501, NDJSON, (413, "too_many_events", None)),
    "many elements": (b"[%b]" % b",".join([ONE] * 501), {}, (413, "too_many_events", None)),
    "many empty lines": (b"\n" * 5000, NDJSON, (413, "too_many_events", None)),
    "a large body": (b" " * (2**20 + 1), {}, (413, "body_too_large", None)),
    "another type": (ONE, {"Content_Type": "text/plain"}, BAD_TYPE),
    "compressed": (ONE, {"Content_Encoding": "gzip"}, BAD_TYPE),
    "an empty key": (ONE, {"Idempotency_Key": ""}, BAD_KEY),
    "a long key": (ONE, {"Idempotency_Key": "k" * 256}, BAD_KEY),
    "a key beyond ASCII": (ONE, {"Idempotency_Key": "\u00e9"}, BAD_KEY),
    "no epoch": (ONE, {"If_Run": "x"}, (400, "malformed_epoch", None)),
    "a malformed run": (ONE, {"run": "a%20b"}, (400, "malformed_execution_id", None)),
}


async def test_one_bad_event_refuses_the_call(start_gateway: StartGateway, redis: Redis) -> None:
    """With its index and a reason, and nothing is published."""
    producer = Producer(await start_gateway(publish=True, event_max_bytes=4096))
    for name, (body, headers, (status, code, index)) in BAD.items():
        answer = await producer.publish(body, **headers)
        found = (answer[0], answer[1]["error"], answer[1].get("index"))
        assert found == (status, code, index), name
    assert await redis.keys("*run-1*") == []


async def test_a_call_of_unknown_length(producer: Producer) -> None:
    """In chunks: 411, before any of it is read."""

    async def chunks() -> Any:
        yield b'{"type":"a"}'

    url = f"{producer.gateway.url}/api/v1/sse/executions/run-1/events"
    async with producer.gateway.session.post(
        url, data=chunks(), headers=producer.headers
    ) as answer:
        assert (answer.status, (await answer.json())["error"]) == (411, "length_required")


async def test_refused_before_its_body(gateway: RunningGateway) -> None:
    """Of a stranger's megabyte no more is read than what has arrived."""
    body = b"x" * 500_000
    for headers, status in (({}, 401), (credentials(), 403)):
        assert (await Producer(gateway, headers).publish(body))[0] == status
    said = await say(
        gateway.url,
        "POST /api/v1/sse/executions/run-1/events HTTP/1.1\r\nHost: x\r\n"
        "Content-Length: 1000000\r\n\r\nx",
    )
    assert (said.statuses, said.headers["connection"]) == ([401], "close")


async def test_repeated(producer: Producer, redis: Redis) -> None:
    """The same key and body: the same ids, and nothing is doubled; another body is refused, with
    the ids of the first call. The key counts for its execution alone; without a key each call is
    published."""
    body = [event(1), event(2)]
    first = await producer.publish(body, Idempotency_Key="k 1")
    assert first[0] == 201
    assert await producer.publish(body, Idempotency_Key="k 1") == (200, first[1])
    status, refusal = await producer.publish([event(1)], Idempotency_Key="k 1")
    assert (status, refusal["error"], refusal["ids"]) == (
        422,
        "idempotency_key_reused",
        first[1]["ids"],
    )
    assert len(await kept(redis)) == 2
    assert (await producer.publish(body, "run-2", Idempotency_Key="k 1"))[0] == 201
    for _ in range(2):
        assert (await producer.publish(event(1)))[0] == 201
    assert len(await kept(redis)) == 4


async def test_restart(gateway: RunningGateway, producer: Producer, redis: Redis) -> None:
    """A new run begins; its key is repeated as any other; keys of the former run are free again; a
    worker of the former run is refused if it names its run."""
    _, document = await producer.publish(event(1), Idempotency_Key="k")
    reader = await gateway.open("run-1")
    await reader.expect("step:started")
    status, begun, _ = await producer.call("POST", "run-1/restart", None, Idempotency_Key="r")
    assert status == 201
    await reader.expect("stream:reset")
    assert (await reader.expect("execution:restarted")).id == begun["ids"][0]
    again = await producer.call("POST", "run-1/restart", None, Idempotency_Key="r")
    assert again[:2] == (200, begun)
    former, _, _ = document["ids"][0].partition("-")
    assert await producer.refused(event(2), If_Run=former) == (409, "run_restarted")
    # A call of the former run whose answer was lost is answered all the same.
    assert await producer.publish(event(1), Idempotency_Key="k", If_Run=former) == (200, document)
    present, _, _ = begun["ids"][0].partition("-")
    status, later = await producer.publish(event(1), Idempotency_Key="k", If_Run=present)
    assert (status, later["ids"]) == (201, [f"{present}-2"])
    assert await redis.hget(meta_key("run-1"), "organization_id") == b"acme"
    custom = await producer.call("POST", "run-1/restart?keep=true", {"type": "job:again"})
    assert custom[0] == 201
    assert (await producer.call("POST", "run-1/restart", [event(1), event(2)]))[0] == 400
    # The former run would be gone after an hour.
    unclear = await producer.call("POST", "run-1/restart?keep=yes")
    assert (unclear[0], unclear[1]["error"]) == (400, "malformed_request")


async def test_register(producer: Producer, redis: Redis) -> None:
    """201, then 200, with the workflow that is registered; another one is refused, and nothing is
    written."""
    answers = [
        await producer.call("PUT", "run-1", body)
        for body in (None, {"workflow_id": "flow"}, {"workflow_id": "flow"}, None, {})
    ]
    assert [status for status, *_ in answers] == [201, 200, 200, 200, 200]
    assert [document["workflow_id"] for _, document, _ in answers] == [None, *["flow"] * 4]
    for body, status, code in (
        ({"workflow_id": "other"}, 409, "workflow_differs"),
        ({"workflow_id": 7}, 400, "malformed_request"),
        ({"workflow_id": "a\n"}, 400, "malformed_workflow_id"),
        (b"{", 400, "malformed_request"),
    ):
        answer = await producer.call("PUT", "run-1", body)
        assert (answer[0], answer[1].get("error")) == (status, code)
    known = await redis.hgetall(meta_key("run-1"))
    assert known == {b"organization_id": b"acme", b"workflow_id": b"flow"}
    assert (await producer.publish(event()))[0] == 201


@pytest.mark.parametrize("ownership", ["registry", "token"])
async def test_owner(start_gateway: StartGateway, redis: Redis, ownership: str) -> None:
    """Publishing to a free id registers it, under every ownership; another organization's is
    refused as a missing right is; a history that nobody owns takes nothing."""
    gateway = await start_gateway(publish=True, ownership=ownership)
    mine, other = Producer(gateway), Producer(gateway, worker("globex"))
    assert (await mine.publish(event()))[0] == 201
    assert await redis.hget(meta_key("run-1"), "organization_id") == b"acme"
    without_right = Producer(gateway, worker("globex", executions=["run-9"]))
    answers = [
        await one.call(method, path, {"type": "a"} if method == "POST" else None)
        for one in (other, without_right)
        for method, path in (("POST", "run-1/events"), ("POST", "run-1/restart"), ("PUT", "run-1"))
    ]
    bodies = {orjson.dumps(document) for _, document, _ in answers}
    assert len(bodies) == 1
    assert {status for status, *_ in answers} == {403}
    assert answers[0][1]["error"] == "execution_forbidden"
    assert len(await kept(redis)) == 1
    assert (await without_right.publish(event(), "run-9"))[0] == 201
    await append(redis, "run-2")
    assert await mine.refused(event(), "run-2") == (409, "unregistered_history")
    assert len(await kept(redis, "run-2")) == 1


async def test_right(gateway: RunningGateway, redis: Redis) -> None:
    """Only a word of the claim gives the right, and only the header carries the token."""
    for scope in (None, "", "executions:publisher", "x,executions:publish", ["a"], {"a": 1}, 7):
        more = {} if scope is None else {"scope": scope}
        page = Producer(gateway, credentials(more=more))
        assert await page.refused(event()) == (403, "publish_forbidden"), scope
    for scope in ("openid executions:publish", ["openid", "executions:publish"]):
        ours = Producer(gateway, credentials(more={"scope": scope}))
        assert (await ours.publish(event()))[0] == 201
    headers = worker()
    token = headers["Authorization"]
    nothing = Producer(gateway, {})
    assert await nothing.refused(event()) == (401, "header_required")
    assert await nothing.refused(event(), Cookie=f"token={token}") == (401, "header_required")
    for name, value in (
        ("Authorization", token),
        ("organization_id", "acme"),
        ("ticket", "x" * 43),
    ):
        url = f"{gateway.url}/api/v1/sse/executions/run-1/events"
        async with gateway.session.post(
            url, params={name: value}, json=event(), headers=headers
        ) as answer:
            assert (answer.status, (await answer.json())["error"]) == (401, "header_required")
    assert await Producer(gateway, worker("acme") | {"X-Organization-ID": "globex"}).refused(
        event()
    ) == (403, "organization_forbidden")
    del headers["X-Organization-ID"]
    assert (await Producer(gateway, headers).publish(event()))[0] == 201
    several = worker(organization_id=["acme", "globex"])
    del several["X-Organization-ID"]
    assert await Producer(gateway, several).refused(event()) == (400, "organization_missing")


async def test_revoked(gateway: RunningGateway, redis: Redis) -> None:
    """Within two seconds, a revoked token, subject, organization or execution publishes nothing."""
    revoked = Producer(gateway, worker(jti="t-1"))
    for kind, value, answer in (
        ("token-id", "t-1", (401, "token_revoked")),
        ("execution", "run-1", (403, "execution_forbidden")),
        ("organization", "acme", (403, "organization_revoked")),
    ):
        assert (await revoked.publish(event(), "run-3"))[0] == 201
        await revoke(redis, kind, value, 60)  # type: ignore[arg-type]

        async def is_refused(expected: tuple[int, str] = answer) -> bool:
            gateway.components.questions.send_now()
            status, document = await revoked.publish(event())
            return (status, document.get("error")) == expected

        await eventually(is_refused, 4.0)
        await redis.zadd("sse:{!revocations}:members", {f"{kind}:{value}": 0})
        await redis.set("sse:{!revocations}:version", f"undone {kind}")

        async def is_back() -> bool:
            gateway.components.questions.send_now()
            return (await revoked.publish(event(), "run-3"))[0] == 201

        await eventually(is_back, 4.0)


async def test_limits(start_gateway: StartGateway) -> None:
    """Of a subject and of an organization, in events and in bytes; the answer says when to try
    again. A call that is larger than a second's worth passes where nothing is owed."""
    gateway = await start_gateway(publish=True, max_published_events_per_subject=10)
    producer, other = Producer(gateway), Producer(gateway, worker(sub="other"))
    assert (await producer.publish([event()] * 400))[0] == 201
    status, document, answer = await producer.call("POST", "run-1/events", event())
    assert (status, document["error"]) == (429, "rate_limit")
    assert 20 < int(answer.headers["Retry-After"]) <= 40
    assert (await other.publish(event()))[0] == 201
    for setting in (
        "max_published_events_per_organization",
        "max_published_bytes_per_organization",
    ):
        gateway = await start_gateway(publish=True, **{setting: 1})
        assert (await Producer(gateway).publish([event()] * 100))[0] == 201
        assert await Producer(gateway, worker(sub="other")).refused(event()) == (429, "rate_limit")
        assert (await Producer(gateway, worker("globex")).publish(event(), "run-9"))[0] == 201


async def test_off_by_default(start_gateway: StartGateway) -> None:
    """404, as for any path that is not there."""
    producer = Producer(await start_gateway())
    for method, path in (("POST", "run-1/events"), ("POST", "run-1/restart"), ("PUT", "run-1")):
        status, document, _ = await producer.call(method, path, None)
        assert (status, document["error"]) == (404, "not_found")


async def test_no_page_of_another_origin(start_gateway: StartGateway) -> None:
    """A preflight is refused, also where every origin may read."""
    gateway = await start_gateway(publish=True, cors_origins="*")
    for method, path in (("POST", "run-1/events"), ("PUT", "run-1"), ("POST", "run-1/restart")):
        headers = {"Origin": "https://app.example.com", "Access-Control-Request-Method": method}
        url = f"{gateway.url}/api/v1/sse/executions/{path}"
        async with gateway.session.options(url, headers=headers) as answer:
            assert answer.status == 405
            assert not [name for name in answer.headers if name.startswith("Access-Control-")]


async def test_terminal(gateway: RunningGateway, producer: Producer, redis: Redis) -> None:
    """What ends a run ends its streams; counts and times of the run are kept as always."""
    await producer.publish([event(), {"type": "execution:completed", "data": {"status": "failed"}}])
    known: Any = await redis.hgetall(meta_key("run-1"))
    assert known[b"terminal_status"] == b"completed"
    assert known[b"counts"].endswith(b":0:1:0:0")
    assert gateway.components.metrics.events_published == 2
    await redis.publish("execution:run-1", producer_message("late"))
