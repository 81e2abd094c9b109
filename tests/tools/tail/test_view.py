"""What `tail` shows of a run, from a gateway that streams it."""

from io import StringIO

import orjson
import pytest
from redis.asyncio import Redis
from rich.console import Console

from gateway.access.tokens import issue
from gateway.bus.forget import forget
from gateway.publisher import Publisher
from gateway.tools.tail.follow import Follower, Happened
from gateway.tools.tail.stream import Ended, Lost
from gateway.tools.tail.view import View, duration
from tests.conftest import StartGateway
from tests.events.folding import RUNS, terminal_types_of
from tests.http.histories import Producer
from tests.support import SECRET

DURATIONS = {
    1240: "1.2 s",
    59_970: "1 min",
    119_900: "1 min 59 s",
    3_600_000: "1 h",
    6_515_400: "1 h 48 min",
    190_860_000: "2 d 5 h",
}
"""By milliseconds."""
ENDED = ("completed", "failed", "canceled", "ended")


def headers() -> dict[str, str]:
    token = issue(SECRET, organization_id="acme")
    return {"Authorization": f"Bearer {token}", "X-Organization-ID": "acme"}


def test_durations_in_their_two_largest_units() -> None:
    assert {one: duration(one) for one in DURATIONS} == DURATIONS


async def shown(url: str, execution_id: str) -> list[str]:
    """The lines that a script gets, to the end of the run."""
    console = Console(file=StringIO(), width=200)
    with View(execution_id, console) as view:
        async for update in Follower(url, headers, execution_id=execution_id).follow():
            view.show(update)
            if isinstance(update, Ended):
                break
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def test_the_newest_steps_stay_in_a_low_terminal() -> None:
    """Of more steps than the terminal has lines the last ones are shown, and how many were
    before."""
    console = Console(file=StringIO(), width=80, height=12, force_terminal=True)
    with View("run-1", console) as view:
        for number in range(30):
            node = f'"node_id":"n{number}","node_type":"step-{number}."'
            view.show(
                Happened("step:started", b'{"type":"step:started","data":{%b}}' % node.encode())
            )
    assert isinstance(console.file, StringIO)
    screen = console.file.getvalue()[-2000:]
    assert "step-29." in screen
    assert "24 earlier steps" in screen


@pytest.mark.parametrize("has_pairs", [False, True])
async def test_every_run_that_ends(
    start_gateway: StartGateway, redis: Redis, has_pairs: bool
) -> None:
    """The last line is the run's status, and each step that was interrupted has a line before it. A
    stream ends with the run, so what comes later is not seen."""
    ended = [run for run in RUNS if run["expect"].get("status") in ENDED and not run.get("own_ids")]
    runs = [run for run in ended if ("=" in "".join(terminal_types_of(run))) == has_pairs]
    given = dict.fromkeys(one for run in runs for one in terminal_types_of(run))
    types = [one.partition("=")[0] for one in given]
    gateway = await start_gateway(ownership="token", terminal_types=",".join(given))
    for number, run in enumerate(runs):
        producer = Producer(redis, f"run-{number}", terminal_types=types)
        for event in run["events"]:
            await producer.publish_raw(event["type"], orjson.dumps(event))
        *lines, status = await shown(gateway.url, f"run-{number}")
        assert status == run["expect"]["status"], run["name"]
        if run["events"][-1]["type"] in types and "execution_logs" in run["expect"]:
            steps = [step.get("status") for step in run["expect"]["execution_logs"]]
            interrupted = [line for line in lines if line.startswith("interrupted: ")]
            assert len(interrupted) == steps.count("interrupted"), run["name"]


async def test_a_part_of_a_run(start_gateway: StartGateway, redis: Redis) -> None:
    """It says how many events are missing."""
    gateway = await start_gateway(ownership="token")
    producer = Producer(redis)
    await producer.steps(["a", "b"])
    await producer.publish("execution:failed")
    await redis.xtrim("sse:{run-1}:events", maxlen=2, approximate=False)
    lines = await shown(gateway.url, "run-1")
    assert lines[-2:] == ["a part of the run: 3 events are missing", "failed"]


async def test_restarted_and_forgotten(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """It says that the run was restarted, and that the execution was deleted."""
    gateway = await start_gateway(ownership="token")
    console = Console(file=StringIO(), width=200)
    assert isinstance(console.file, StringIO)
    async with Publisher(redis_url) as publisher:
        await publisher.publish("run-1", "step:started", {"node_id": "a"})
        updates = Follower(gateway.url, headers, execution_id="run-1").follow()
        with View("run-1", console) as view:
            async for update in updates:
                view.show(update)
                match update:
                    case Happened("step:started", _):
                        await publisher.restart("run-1")
                    case Happened("execution:restarted", _):
                        break
            await forget(redis, "execution:", ["run-1"])
            with pytest.raises(Lost, match="deleted"):
                await anext(updates)
    lines = [line.partition(" ")[2] for line in console.file.getvalue().splitlines()]
    assert lines == ["step:started a", "run was restarted", "execution:restarted"]
