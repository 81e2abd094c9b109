"""The units as text: systemd has nothing to say against them, and their figures are right."""

import re
import subprocess
import sysconfig
import tomllib
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector

from gateway.errors import ConfigurationError
from gateway.listener import BACKLOG
from tests.conftest import credentials
from tests.harness.gateway_process import run, serving
from tests.harness.sse import SseReader
from tests.support import SECRET, require

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
SERVICES = ("sse-gateway.service", "sse-gateway@.service")
RECORDER = "sse-gateway-recorder.service"
INSTALLED = "/opt/sse-gateway/bin"

_SANDBOX = "# --- What it may not do"


def settings(unit: str) -> dict[str, list[str]]:
    """Everything that *unit* says, by name."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", (UNITS / unit).read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def sample() -> dict[str, object]:
    return tomllib.loads((ROOT / "config" / "production.toml").read_text())


@pytest.fixture
def placed(tmp_path: Path) -> Path:
    """A directory with the units, whose program is the one of this environment."""
    for unit in UNITS.glob("sse-gateway*.*"):
        text = unit.read_text().replace(INSTALLED, sysconfig.get_path("scripts"))
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def complaints(*units: Path) -> str:
    command = [require("systemd-analyze"), "verify", *map(str, units)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_verified(placed: Path) -> None:
    """`systemd-analyze verify` finds nothing to say about any unit, and would."""
    units = sorted(placed.glob("sse-gateway*.*"))
    assert len(units) == 4
    assert complaints(*units) == ""
    units[-1].write_text(units[-1].read_text().replace("[Unit]", "[Unit]\nNonsense=1"))
    assert "Nonsense" in complaints(*units)


@pytest.mark.parametrize("unit", [*SERVICES, RECORDER])
def test_exposure(placed: Path, unit: str) -> None:
    """`systemd-analyze security` scores at most 2.0; without the restrictions it would not."""
    command = [require("systemd-analyze"), "security", "--offline=true", "--threshold=20"]
    file = placed / unit
    assert subprocess.run([*command, file], capture_output=True).returncode == 0
    before, after = file.read_text().split(_SANDBOX)
    file.write_text(before + after[after.index("[Install]") :])
    assert subprocess.run([*command, file], capture_output=True).returncode != 0


def test_one_sandbox() -> None:
    """All services may do the same, and both of gateways say the same of how they run."""
    sandboxes = []
    for unit in (*SERVICES, RECORDER):
        after = (UNITS / unit).read_text().split(_SANDBOX)[1]
        sandboxes.append(after[after.index("\n") : after.index("[Install]")])
    assert sandboxes[0] == sandboxes[1] == sandboxes[2]
    assert len(sandboxes[0].splitlines()) > 25
    one, several = map(settings, SERVICES)
    apart = {name for name in one.keys() | several.keys() if one.get(name) != several.get(name)}
    assert apart == {
        *("Description", "Requires", "After", "Also"),
        *("Environment", "RuntimeDirectory", "RuntimeDirectoryMode", "Group"),
    }


def test_instances_apart() -> None:
    """Each instance's sockets are in a directory of its own, which ends with it alone."""
    unit = settings("sse-gateway@.service")
    [directory] = unit["RuntimeDirectory"]
    assert "%i" in directory
    variables = dict(setting.split("=") for setting in unit["Environment"])
    assert variables.keys() == {"GATEWAY_UNIX_SOCKET", "GATEWAY_ADMIN_UNIX_SOCKET"}
    assert all(path.startswith(f"%t/{directory}/") for path in variables.values())


def test_a_recorder_gets_no_secret() -> None:
    """It checks no tokens; and it runs beside a gateway on the same machine."""
    unit = settings(RECORDER)
    assert unit["LoadCredential"] == ["redis_url:/etc/sse-gateway/credentials/redis_url"]
    assert unit["ExecStart"][0].endswith(
        "sse-gateway recorder --config /etc/sse-gateway/gateway.toml"
    )
    variables = dict(setting.split("=") for setting in unit["Environment"])
    assert variables["GATEWAY_RECORD_BARE_EVENTS"] == "only"
    assert int(variables["GATEWAY_ADMIN_PORT"]) != sample().get("admin_port", 8081)


@pytest.mark.parametrize("unit", [*SERVICES, RECORDER])
def test_times_fit(unit: str) -> None:
    """systemd waits 10 s longer than the drain of the production sample takes, and starves nobody
    whose event loop is merely slow."""
    drain = sample()["drain_seconds"]
    assert isinstance(drain, float)
    assert float(settings(unit)["TimeoutStopSec"][0]) >= drain + 10
    assert float(settings(unit)["WatchdogSec"][0]) >= 10


@pytest.mark.parametrize("unit", SERVICES)
def test_room_for_100_000_streams(unit: str) -> None:
    """100,000 streams and a quarter as many other connections at once."""
    assert int(settings(unit)["LimitNOFILE"][0]) >= 125_000
    # The bound of the alert about memory, which must fire before the kernel ends the gateway.
    assert "> on (instance) 500e6 + 50e3 *" in (ROOT / "config" / "alerts.yml").read_text()
    assert settings(unit)["MemoryMax"] == ["6G"]
    assert 500e6 + 50e3 * 100_000 < 6 * 1024**3


async def test_one_descriptor_a_stream(redis_url: str) -> None:
    """A stream takes one file descriptor of the gateway."""
    settings = {"REDIS_URL": redis_url, "GATEWAY_OWNERSHIP": "token"}
    async with (
        serving(**settings) as process,
        ClientSession(headers=credentials(), connector=TCPConnector(limit=0)) as session,
        AsyncExitStack() as streams,
    ):
        await process.healthy(session)

        async def opened(count: int) -> int:
            for number in range(count):
                url = f"{process.url}/api/v1/sse/executions/run-{number}/stream"
                reader = SseReader(await streams.enter_async_context(session.get(url)))
                await reader.expect("connected")
            return sum(1 for _ in Path(f"/proc/{process.pid}/fd").iterdir())

        # Then its connections to Redis are there.
        before = await opened(20)
        assert 100 <= await opened(100) - before < 110


async def test_serves_with_the_samples(redis_url: str, tmp_path: Path) -> None:
    """What the unit starts serves with the sample of the settings and two files of credentials;
    without them it ends, with the secret as the only thing that is missing."""
    assert [start.split()[1:] for start in settings(SERVICES[0])["ExecStart"]] == [
        ["serve", "--config", "/etc/sse-gateway/gateway.toml"]
    ]
    (tmp_path / "jwt_secret").write_text(SECRET)
    (tmp_path / "redis_url").write_text(redis_url)
    given = {"GATEWAY_JWT_SECRET": "", "GATEWAY_CONFIG": str(ROOT / "config" / "production.toml")}
    async with (
        serving(**given, CREDENTIALS_DIRECTORY=str(tmp_path)) as process,
        ClientSession() as session,
    ):
        await process.healthy(session)
    status, _, said = await run("serve", **given)
    assert status == ConfigurationError.EXIT_STATUS
    assert re.findall("GATEWAY_[A-Z_]+(?=:)", said) == ["GATEWAY_JWT_SECRET"]


@pytest.mark.parametrize("unit", SERVICES)
def test_wrong_settings_are_final(unit: str) -> None:
    """A start that fails for its settings is not repeated; every other end is."""
    assert settings(unit)["Restart"] == ["always"]
    assert settings(unit)["RestartPreventExitStatus"] == [str(ConfigurationError.EXIT_STATUS)]


def test_queue_of_the_socket() -> None:
    """As many may wait before the gateway runs as when it does."""
    assert settings("sse-gateway.socket")["Backlog"] == [str(BACKLOG)]
