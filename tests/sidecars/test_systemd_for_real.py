"""The units under a real systemd: the sandbox, the credentials, the socket, the watchdog."""

import asyncio
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from gateway.access.tokens import issue
from tests.conftest import credentials
from tests.harness.sse import SseReader
from tests.sidecars.real_systemd import CONFIG, ROOT, UNITS, RealSystemd, real_systemd
from tests.sidecars.service_manager import Visitors, visited
from tests.support import SECRET, eventually, free_port, producer_message, require

SERVICE = "sse-gateway.service"
ONE = (SERVICE, "sse-gateway.socket")
SEVERAL = ("sse-gateway@1.service", "sse-gateway@2.service")
RECORDER = ("sse-gateway-recorder.service",)
SETTINGS = 'ownership = "token"\nadmin_port = "off"\ndrain_seconds = 0.3\n'


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def systemd(tmp_path: Path, port: int) -> Iterator[RealSystemd]:
    """With all that an operator has put into the configuration."""
    with real_systemd(tmp_path, port) as running:
        running.write("gateway.toml", SETTINGS, mode="644")
        running.write("credentials/jwt_secret", SECRET)
        yield running


@pytest.fixture
def on_redis(systemd: RealSystemd, redis_url: str) -> RealSystemd:
    """And the URL of Redis, which may hold a password."""
    systemd.write("credentials/redis_url", redis_url)
    return systemd


def status(systemd: RealSystemd, field: str) -> str:
    """A line of /proc/PID/status of the gateway."""
    pid = systemd.show(SERVICE, "MainPID")
    found = re.search(
        rf"^{field}:\s*(.*)$", systemd.run("cat", f"/proc/{pid}/status").stdout, re.MULTILINE
    )
    assert found is not None
    return found[1]


def signed(secret: str) -> dict[str, str]:
    token = issue(secret, organization_id="acme")
    return {"Authorization": f"Bearer {token}", "X-Organization-ID": "acme"}


async def answered(visitors: Visitors, more: int = 20) -> None:
    began = visitors.answers
    await eventually(lambda: visitors.answers > began + more)


async def test_serves_in_its_sandbox(on_redis: RealSystemd, port: int, redis: Redis) -> None:
    """With all restrictions of the unit in force and the secrets from its credentials, which root
    alone may read, the gateway serves; a reload does not touch a stream."""
    await asyncio.to_thread(on_redis.ctl, "start", SERVICE)
    assert on_redis.show(SERVICE, "StatusText").startswith("0 streams on http://127.0.0.1:")
    assert status(on_redis, "NoNewPrivs") == "1"
    assert status(on_redis, "Seccomp").startswith("2")
    assert int(status(on_redis, "CapBnd"), 16) == 0
    assert int(status(on_redis, "Uid").split()[0]) >= 61184, "no dynamic user"
    url = f"http://127.0.0.1:{port}/api/v1/sse/executions/run-1/stream"
    async with (
        aiohttp.ClientSession(headers=credentials()) as session,
        session.get(url) as response,
    ):
        reader = SseReader(response)
        await reader.expect("connected")
        pid = on_redis.show(SERVICE, "MainPID")
        await asyncio.to_thread(on_redis.ctl, "reload", SERVICE)
        await redis.publish("execution:run-1", producer_message("execution:completed"))
        await reader.expect("execution:completed")
        assert await reader.next() is None
    await eventually(lambda: "Reloaded" in on_redis.logged())
    assert (on_redis.show(SERVICE, "MainPID"), on_redis.show(SERVICE, "NRestarts")) == (pid, "0")


async def test_reload(systemd: RealSystemd, port: int) -> None:
    """With a mistake in the settings, or in a credential, `systemctl reload` fails, and the gateway
    goes on as before. Without one it takes the new credentials. A single command renews none: the
    log says that this takes a restart."""
    new, wrong = SECRET[::-1], SECRET.upper()
    await asyncio.to_thread(systemd.ctl, "start", SERVICE)
    pid = systemd.show(SERVICE, "MainPID")
    url = f"http://127.0.0.1:{port}/api/v1/sse/executions/run-1/ticket"

    async def good() -> list[bool]:
        """Whether a token of the secret, the new and the wrong one is; Redis is away."""
        found = []
        async with aiohttp.ClientSession() as session:
            for secret in (SECRET, new, wrong):
                async with session.post(url, headers=signed(secret)) as response:
                    found.append(response.status == 503)
        return found

    for path, text, said in (
        ("gateway.toml", SETTINGS + 'log_level = "lowd"\n', "GATEWAY_LOG_LEVEL: "),
        (
            "credentials/jwt_secret",
            f"{new}\nshort\n",
            "GATEWAY_JWT_SECRET: secret 2 of 2 is shorter",
        ),
    ):
        systemd.write(path, text, mode="644")
        done = await asyncio.to_thread(systemd.run, "systemctl", "reload", SERVICE)
        assert done.returncode != 0
        assert said in systemd.logged()
        systemd.write("gateway.toml", SETTINGS, mode="644")
        assert await good() == [True, False, False]
    assert "Not reloaded" not in systemd.logged(), "a mistake has reached the gateway"

    systemd.write("credentials/jwt_secret", f"{new}\n{SECRET}\n")
    await asyncio.to_thread(systemd.ctl, "reload", SERVICE)
    await eventually(lambda: "Reloaded" in systemd.logged())
    assert await good() == [True, True, False]
    assert "does not renew it" not in systemd.logged()
    assert systemd.show(SERVICE, "MainPID") == pid

    kill = "[Service]\nExecReload=\nExecReload=/bin/kill -HUP $MAINPID\n"
    systemd.drop_in(SERVICE, kill, name="kill")
    await asyncio.to_thread(systemd.ctl, "daemon-reload")
    await asyncio.to_thread(systemd.ctl, "restart", SERVICE)
    systemd.write("credentials/jwt_secret", wrong)
    await asyncio.to_thread(systemd.ctl, "reload", SERVICE)
    await eventually(lambda: "does not renew it" in systemd.logged())
    assert await good() == [True, True, False]


async def test_restart(systemd: RealSystemd, port: int) -> None:
    """`systemctl restart`, and a gateway that is killed, refuse and reset nobody else's request."""
    await asyncio.to_thread(systemd.ctl, "start", SERVICE)
    async with visited("127.0.0.1", port) as visitors:
        await answered(visitors)
        await asyncio.to_thread(systemd.ctl, "restart", SERVICE)
        await answered(visitors)
        assert visitors.failures == []
        await asyncio.to_thread(systemd.ctl, "kill", "--signal=KILL", SERVICE)
        await answered(visitors)
    # Who was being answered lost that answer.
    assert "ConnectionRefusedError" not in visitors.failures


@pytest.mark.alone
async def test_watchdog(systemd: RealSystemd, port: int) -> None:
    """A gateway that stands still is ended and started anew; who connects meanwhile waits. One that
    goes is left alone as long."""
    systemd.drop_in(SERVICE, "[Service]\nWatchdogSec=1\nRestartSec=0\n", name="quick")
    await asyncio.to_thread(systemd.ctl, "daemon-reload")
    await asyncio.to_thread(systemd.ctl, "start", SERVICE)
    async with visited("127.0.0.1", port) as visitors:
        await asyncio.sleep(1.5)  # Longer than its time limit: what must not happen has time to.
        assert systemd.show(SERVICE, "NRestarts") == "0"
        systemd.ctl("kill", "--signal=STOP", SERVICE)
        await eventually(lambda: systemd.show(SERVICE, "NRestarts") == "1")
        await answered(visitors)
    assert "ConnectionRefusedError" not in visitors.failures


async def test_no_start_without_settings(systemd: RealSystemd, port: int) -> None:
    """Without gateway.toml nothing is started and nothing listens; with it, the same does both."""
    file = systemd.run("mv", f"{CONFIG}/gateway.toml", "/run/gateway.toml")
    assert file.returncode == 0
    await asyncio.to_thread(systemd.ctl, "start", SERVICE)
    assert systemd.show(SERVICE, "ConditionResult") == "no"
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    systemd.run("mv", "/run/gateway.toml", f"{CONFIG}/gateway.toml")
    await asyncio.to_thread(systemd.ctl, "start", SERVICE)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


async def test_wrong_settings(systemd: RealSystemd) -> None:
    """A start with wrong settings fails with status 78 and is not repeated, with the mistake in the
    journal."""
    systemd.write("gateway.toml", 'ownership = "tken"\n', mode="644")
    done = await asyncio.to_thread(systemd.run, "systemctl", "start", SERVICE)
    assert done.returncode != 0
    assert systemd.show(SERVICE, "ExecMainStatus") == "78"
    assert systemd.show(SERVICE, "ActiveState") == "failed"
    assert "GATEWAY_OWNERSHIP" in systemd.logged()


async def test_ten_minutes(on_redis: RealSystemd, port: int) -> None:
    """The commands of README.md, pasted one block after the other into the shell of root, bring a
    healthy gateway that starts with the machine, then two that do in its place, and a recorder,
    whose reload fails with a mistake in the settings."""
    for program in ("curl", "openssl"):
        require(program)
    on_redis.run("rm", f"{CONFIG}/gateway.toml", f"{CONFIG}/credentials/jwt_secret")
    on_redis.write("gateway.toml.sample", (ROOT / "config" / "production.toml").read_text())
    # The sample's port may be taken here.
    on_redis.drop_in(SERVICE, "[Service]\nEnvironment=GATEWAY_ADMIN_PORT=off\n", name="port")
    own = free_port()
    on_redis.drop_in(RECORDER[0], f"[Service]\nEnvironment=GATEWAY_ADMIN_PORT={own}\n", name="port")
    readme = (UNITS / "README.md").read_text()
    first, offline, *blocks = re.findall(r"^```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    # Both are run by tests/packaging/test_install.py.
    assert first == "make install\n"
    assert offline.startswith("make wheels ")
    asked = ""
    for block, units in zip(blocks, (ONE, ONE, SEVERAL, RECORDER), strict=True):
        pasted = block.replace("/etc/sse-gateway", CONFIG).replace(":8080/", f":{port}/")
        pasted = pasted.replace(":8082/", f":{own}/")
        done = await asyncio.to_thread(on_redis.run, "bash", "-ec", pasted)
        assert done.returncode == 0, done.stdout + done.stderr + on_redis.logged()
        assert is_enabled(on_redis, units) == ["enabled"] * len(units)
        if found := re.search(r"^curl .*", pasted, re.MULTILINE):
            asked = found[0]
        await eventually(partial(is_healthy, on_redis, asked))
    assert is_enabled(on_redis, ONE) == ["disabled"] * 2
    await asyncio.to_thread(on_redis.ctl, "reload", *RECORDER)
    on_redis.write("gateway.toml", 'log_level = "lowd"\n', mode="644")
    done = await asyncio.to_thread(on_redis.run, "systemctl", "reload", *RECORDER)
    assert done.returncode != 0


def is_enabled(systemd: RealSystemd, units: tuple[str, ...]) -> list[str]:
    return systemd.run("systemctl", "is-enabled", *units).stdout.split()


def is_healthy(systemd: RealSystemd, asked: str) -> bool:
    said = systemd.run("bash", "-c", asked).stdout
    return '"healthy"' in said or '"ready"' in said


def is_served(systemd: RealSystemd, socket: str, path: str) -> bool:
    url = f"http://gateway/{path}"
    return systemd.run("curl", "-si", "--unix-socket", socket, url).stdout.startswith(
        "HTTP/1.1 200"
    )


async def test_instances(on_redis: RealSystemd) -> None:
    """Two instances of the template listen each on two sockets of its own, which nginx's group may
    open and others may not."""
    await asyncio.to_thread(on_redis.ctl, "start", "sse-gateway@1", "sse-gateway@2")
    for number in (1, 2):
        inside = f"/run/sse-gateway/{number}"
        said = on_redis.run("stat", "--format=%a %G", inside, f"{inside}/gateway.sock")
        assert said.stdout.splitlines() == ["750 www-data", "660 www-data"]
        for name, path in (("gateway", "api/v1/sse/health"), ("admin", "live")):
            # It listens a moment before it is healthy.
            await eventually(partial(is_served, on_redis, f"{inside}/{name}.sock", path))
    metrics = on_redis.run(
        "curl", "-s", "--unix-socket", f"{inside}/admin.sock", "http://x/metrics"
    )
    for name in ("process_max_fds ", "process_open_fds ", "process_start_time_seconds "):
        # The sandbox can hide what they are read from.
        assert f"\n{name}" in metrics.stdout
    await asyncio.to_thread(on_redis.ctl, "stop", "sse-gateway@1")
    assert on_redis.run("ls", "/run/sse-gateway").stdout == "2\n"
