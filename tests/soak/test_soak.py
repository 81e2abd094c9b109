"""The soak works, and finds leaks and losses. How long gateways last is for `make soak`."""

import time
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from rich.console import Console

from tests.conftest import credentials
from tests.harness.gateway_process import GatewayProcess
from tests.soak.claims import Claim, of_errors, of_events, of_gateway, of_redis
from tests.soak.figures import Figures, connections, look, parse
from tests.soak.plan import HISTORY_SECONDS, POOL, SHORT
from tests.soak.redis_figures import Leftovers
from tests.soak.report import show, to_json
from tests.soak.run import Soak, soak
from tests.soak.stage import Fault
from tests.support import DEADLINE, eventually, missing

MIB = 1024 * 1024
BEGAN = Figures(
    gateway="g", pid=1, at=0.0, streams=0, listed=0, sockets=0, descriptors=20, tasks=16,
    dead_tasks=0, rss=80 * MIB, queued=0, opened=100, unaccounted=0, gaps=0, malformed=0,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _linux() -> None:
    if not Path("/proc/net/tcp").exists():
        missing("the soak counts sockets in /proc/net/tcp")


async def test_a_short_soak_passes() -> None:
    """A few seconds of everything: gateways are restarted and killed, Redis fails over, nothing is
    lost, and streams, sockets, tasks and all else come back to where they began."""
    said: list[str] = []
    found = await soak(SHORT, 1, said.append)
    report = StringIO()
    show(found, Console(file=report, width=160))
    assert found.passed, "\n".join([*said, report.getvalue()])
    assert len(found.looks) == SHORT.rounds
    assert found.counted["events seen"] > 1000
    happened = {fault.name for fault in found.faults}
    assert {"rolling_restart", "gateway_killed", "master_hangs", "reloaded"} <= happened


async def test_streams_that_stay_open_are_found(redis_url: str) -> None:
    """Three streams that nobody closes are seen by the gateway's account, by its list and by the
    kernel's, and fail their claims; before them all hold."""
    settings = {"GATEWAY_ADMIN_PORT": "0", "GATEWAY_OWNERSHIP": "token", "REDIS_URL": redis_url}
    gateway = GatewayProcess(settings)
    await gateway.start()
    try:
        began = await look("g", gateway)
        url = f"http://127.0.0.1:{gateway.port}/api/v1/sse/executions/left-open/stream"
        async with aiohttp.ClientSession() as session:
            for _ in range(3):
                response = await session.get(url, headers=credentials())
                await response.content.readany()
            ended = await look("g", gateway)
            kernel = connections(gateway.port)
        assert not failing([began, began])
        assert kernel == ended.sockets == ended.streams == ended.listed == 3
        assert {"g: streams open", "g: streams in /streams", "g: sockets established"} <= failing(
            [began, ended]
        )
        await eventually(lambda: connections(gateway.port) == 0, DEADLINE)
    finally:
        await gateway.clean_up()


def failing(looks: list[Figures]) -> set[str]:
    return {claim.what for claim in of_gateway(looks) if not claim.holds}


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"streams": 1}, "g: streams open"),
        ({"listed": 1}, "g: streams in /streams"),
        ({"sockets": 1}, "g: sockets established"),
        ({"tasks": 17}, "g: tasks"),
        ({"dead_tasks": 1}, "g: dead background tasks"),
        ({"descriptors": 20 + POOL + 1}, "g: file descriptors"),
        ({"rss": 95 * MIB}, "g: memory"),
        ({"queued": 1}, "g: bytes that wait for readers"),
        ({"unaccounted": 1}, "g: streams that ended without a reason"),
        ({"gaps": 1}, "g: readers told stream:gap"),
        ({"malformed": 1}, "g: messages dropped"),
    ],
)
def test_each_figure_that_grew_fails_its_own_claim(changed: dict[str, Any], what: str) -> None:
    """Each figure that has grown by more than its allowance fails its own claim, and no other."""
    assert failing([BEGAN, replace(BEGAN, **changed)]) == {what}


def test_what_is_explained_may_grow() -> None:
    """What is explained may grow: connections of the pool, and some memory."""
    ended = replace(BEGAN, descriptors=20 + POOL, rss=93 * MIB, tasks=15, opened=9000)
    assert not failing([BEGAN, ended])


@pytest.mark.parametrize(
    ("left", "holds"),
    [
        (Leftovers(keys=9, histories=1, unending=0, dataset=MIB), True),
        (Leftovers(keys=9, histories=1, unending=1, dataset=MIB), False),
        (Leftovers(keys=9, histories=2, unending=0, dataset=MIB), False),
        (Leftovers(keys=9, histories=1, unending=0, dataset=9 * MIB), False),
    ],
)
def test_only_recent_histories_may_be_left_in_redis(left: Leftovers, holds: bool) -> None:
    """One history may be left of two executions, of which one has ended long ago."""
    now = time.time()
    claims = of_redis(left, [now - 1, now - HISTORY_SECONDS - 60], now)
    assert all(claim.holds for claim in claims) is holds


def test_one_failed_claim_error_or_loss_fails_the_soak() -> None:
    """One claim, one logged error or one complaint is enough, and the report names what does not
    hold, the last faults and the seed."""
    good = Claim("tasks", 16, 16, 16)
    assert Soak(7, claims=[good]).passed
    assert not of_errors(["2026-01-31T12:00:00Z ERROR gateway.x: y"]).holds
    assert not list(of_events({"fault: a": 1}, ["fault: a"]))
    [never] = of_events({"fault: a": 1}, ["fault: a", "visit: b"])
    bad = Soak(7, claims=[good, never], faults=[Fault("master_killed", 0.0, 2.0)])
    assert not bad.passed
    assert not Soak(7, claims=[good], broken=AssertionError("lost")).passed
    report = StringIO()
    show(bad, Console(file=report, width=160))
    for words in ("never happened: visit: b", "00:00:00 master_killed, for 2.0 s", "--seed 7"):
        assert words in report.getvalue()
    assert to_json(bad)["claims"][1]["holds"] is False


def test_metrics_are_read_by_name_and_label() -> None:
    """Samples by name, those with labels added up."""
    text = (
        "# TYPE sse_gateway_streams_closed counter\n"
        'sse_gateway_streams_closed_total{reason="gone"} 2.0\n'
        'sse_gateway_streams_closed_total{reason="drain"} 3.0\n'
    )
    found = parse(text)
    assert found["sse_gateway_streams_closed_total"] == 5.0
    assert found["sse_gateway_streams_closed_total:drain"] == 3.0
