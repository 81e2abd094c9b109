"""The command `sse-gateway loadtest`: exit status, what it prints, and what it leaves behind."""

import asyncio
import io
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from click.testing import CliRunner
from rich.console import Console

from gateway.cli.loadtest import loadtest
from gateway.tools.loadtest import report
from gateway.tools.loadtest.findings import RunStats, sum_up
from gateway.tools.loadtest.ledger import Account, Ledger
from gateway.tools.loadtest.plan import Plan, Target
from gateway.tools.loadtest.private import PrivateGatewayFailed, gateway_process
from gateway.tools.loadtest.run import LoadTest
from tests.harness.proc import alive, descendants
from tests.tools.loadtest.conftest import FaultyGateway, FaultyGatewayFactory

TOKEN = "a-token-that-nobody-may-see"
SECRET = "a-secret-of-more-than-thirty-two-bytes"
URL = "http://127.0.0.1:1"
REDIS = "redis://127.0.0.1:1/0"
DEADLINE = 15.0


async def start(*options: str, **variables: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli.main", "loadtest", *options),
        env=os.environ | variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_gateway_of_its_own() -> None:
    """Without URL it runs a real gateway under its registry, and 50 tabs get all they should."""
    process = await start(
        *("--tabs", "50", "--executions", "5", "--events", "20", "--rate", "200", "--json")
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    findings = orjson.loads(out)
    assert findings["ok"]
    assert (findings["opened"], findings["ended"], findings["received"]) == (50, 50, 1000)


async def test_one_lost_event_is_exit_status_1(
    faulty_gateway: FaultyGatewayFactory, redis_url: str
) -> None:
    """One event lost in one tab makes the exit status 1; nothing printed holds the token."""
    async with faulty_gateway("lost") as url:
        process = await start(
            *(url, "--publish", redis_url, "--token", TOKEN, "--organization", "acme"),
            *("--tabs", "4", "--executions", "2", "--duration", "0.1", "--rate", "100"),
        )
        out, err = await process.communicate()
    assert process.returncode == 1, err.decode()
    assert b"Not every tab got each of its events" in out
    assert TOKEN.encode() not in out + err


async def test_no_secret_in_a_command_line(redis_url: str) -> None:
    """With Redis and token given in the environment, and with a gateway and a Redis of its own, no
    password, secret or token stands in the command line of any of its processes, where `ps` shows
    them to every user."""
    password = urlsplit(redis_url).password
    assert password
    variables = {"SSE_GATEWAY_REDIS_URL": redis_url, "SSE_GATEWAY_TOKEN": TOKEN}
    async with FaultyGateway(redis_url).serving() as url:
        options = (url, "--organization", "acme", "--tabs", "2", "--executions", "1")
        process = await start(*options, "--events", "3", "--rate", "50", **variables)
        assert not {TOKEN, password} & set(re.split(r"[ :@]", command_line(process.pid)))
        out, err = await process.communicate()
        assert process.returncode == 0, (out + err).decode()
    process = await start("--tabs", "2", "--duration", "600", "--rate", "1")
    started = await until(lambda: len(pids := descendants(process.pid)) >= 3 and pids)
    lines = "".join(map(command_line, started))
    assert "valkey" in lines
    assert "redis://" not in lines
    assert not re.search(r"[0-9a-f]{32}|eyJ", lines)
    process.send_signal(signal.SIGINT)
    await process.communicate()


def command_line(pid: int) -> str:
    """What `ps` shows of process *pid*."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


async def test_a_private_gateway_that_cannot_start_says_why() -> None:
    """What stopped it is in the error, as it said it itself."""
    with pytest.raises(PrivateGatewayFailed, match="did not start: GATEWAY_JWT_SECRET"):
        async with gateway_process(REDIS, "too short"):
            pytest.fail("it started")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
async def test_nothing_is_left_behind(signum: signal.Signals) -> None:
    """However it is ended while it runs, the gateway and the Redis that it had started end too."""
    process = await start("--tabs", "5", "--duration", "600", "--rate", "1")
    started = await until(lambda: len(pids := descendants(process.pid)) >= 3 and pids)
    process.send_signal(signum)
    await process.communicate()
    assert process.returncode == (1 if signum == signal.SIGINT else -signum)
    await until(lambda: not any(alive(pid) for pid in started))


async def until(condition: Callable[[], Any]) -> Any:
    """Its value once it is true; an error if that takes too long."""
    async with asyncio.timeout(DEADLINE):
        while True:
            if value := condition():
                return value
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((URL, "--secret", SECRET), "--publish"),
        ((URL, "--publish", REDIS), "give --secret or --token"),
        ((URL, "--publish", REDIS, "--token", TOKEN), "--organization"),
        ((URL, "--publish", "mysql://x", "--secret", SECRET), "Redis URL"),
        (("ftp://x", "--publish", REDIS, "--secret", SECRET), "must look like"),
        (("http://x:port", "--publish", REDIS, "--secret", SECRET), "must look like"),
        ((URL, "--publish", REDIS, "--token", TOKEN + "\r\nX: 1", "--organization", "a"), "header"),
        (("--publish", REDIS), "--publish is for a gateway that already runs"),
        (("--token", TOKEN), "--token is for a gateway that already runs"),
        (("--events", "5", "--duration", "5"), "either --events or --duration"),
        (("--tabs", "100000000"), "open files"),
        (("--tabs", "0"), "--tabs"),
        (("--report", "/proc/report.html"), "/proc/report.html cannot be written"),
        (("--rate", "0"), "--rate"),
    ],
)
def test_wrong_usage_is_exit_status_2(options: tuple[str, ...], words: str) -> None:
    """What cannot be run as asked is said in a sentence before anything is started."""
    result = CliRunner(env={"GATEWAY_JWT_SECRET": ""}).invoke(loadtest, options)
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert TOKEN not in result.output


def test_credentials_are_not_in_a_representation() -> None:
    """Neither the token nor the password of Redis shows when a target is printed."""
    target = Target(url=URL, publish_url="redis://:hidden@x", organization="acme", token=TOKEN)
    assert TOKEN not in repr(target)
    assert "hidden" not in repr(target)


async def test_progress_is_shown() -> None:
    """On a terminal, bars show how far the test is."""
    screen = io.StringIO()
    target = Target(url=URL, publish_url=REDIS, organization="acme", token=TOKEN)
    test = LoadTest(target, Plan(tabs=4, executions=2, events=5, rate=1))
    with report.progress(test, Console(file=screen, force_terminal=True, width=100)):
        for account in test.ledger.accounts[:3]:
            account.opened = True
        test.published = 7
    assert "3 of 4" in screen.getvalue()
    assert "7 of 10" in screen.getvalue()


def test_the_report_names_the_trouble() -> None:
    """The table's faults, every trouble with its number of tabs, and a likely cause are shown."""
    account = Account("own", 5, opened=True, received=3, problem="the connection was cut")
    findings = sum_up(Ledger([account]), RunStats(5, 5, 0.0, 1.0))
    paper = io.StringIO()
    report.show(findings, Console(file=paper, width=200))
    for words in ("3 of 5", "1 tabs: the connection was cut", "5 published events reached no"):
        assert words in paper.getvalue()


async def test_without_httptools_the_error_names_the_extra() -> None:
    """Where httptools is not installed, the load test says how to install it, and helps as ever."""
    hidden = "import sys; sys.modules['httptools'] = None; import gateway.cli.main as m; m.main()"
    for option, status, said in (
        ("--tabs=1", 1, "'sse-gateway[loadtest]'"),
        ("--help", 0, "--slo"),
    ):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", hidden, "loadtest", option),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        assert (process.returncode, said in out.decode()) == (status, True), out
