"""The unit: systemd has nothing to say against it, and what it would start really runs."""

import asyncio
import configparser
import os
import re
import shlex
import subprocess
import sysconfig
import tomllib
from asyncio.subprocess import PIPE, STDOUT, Process
from pathlib import Path

import pytest
from aiohttp import ClientSession

from gateway.errors import ConfigurationError
from tests.support import DEADLINE, SECRET, eventually, require

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "sse-gateway.service"
INSTANCES = ROOT / "systemd" / "instances.conf"
INSTALLED = "/opt/sse-gateway/bin"
CONFIGURED = "/etc/sse-gateway/gateway.toml"


@pytest.fixture
def service() -> configparser.SectionProxy:
    """The unit's [Service] section."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser["Service"]


@pytest.fixture
def here(tmp_path: Path) -> dict[str, str]:
    """Where the unit's paths are for a test: this environment, and a copy of the sample."""
    config = tmp_path / "gateway.toml"
    config.write_text((ROOT / "config" / "production.toml").read_text())
    return {INSTALLED: sysconfig.get_path("scripts"), CONFIGURED: str(config)}


def _placed(text: str, here: dict[str, str]) -> str:
    for there, path in here.items():
        assert there in text, f"the unit no longer says {there}"
        text = text.replace(there, path)
    return text


def test_verified(here: dict[str, str], tmp_path: Path) -> None:
    """`systemd-analyze verify` finds nothing to say about the unit."""
    copy = tmp_path / UNIT.name
    copy.write_text(_placed(UNIT.read_text(), here))
    command = [require("systemd-analyze"), "verify", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_instances(here: dict[str, str], tmp_path: Path) -> None:
    """With the drop-in for several gateways, the unit is a template that `systemd-analyze verify`
    finds nothing to say about, and it does see the drop-in."""
    template = tmp_path / "sse-gateway@.service"
    template.write_text(_placed(UNIT.read_text(), here))
    drop_in = tmp_path / f"{template.name}.d" / INSTANCES.name
    drop_in.parent.mkdir()
    command = [require("systemd-analyze"), "verify", str(template)]
    for added, complaints in (("", 0), ("Nonsense=1\n", 1)):
        drop_in.write_text(INSTANCES.read_text() + added)
        done = subprocess.run(command, capture_output=True, text=True)
        assert len((done.stdout + done.stderr).splitlines()) == complaints, done.stderr


def test_sockets_of_instances() -> None:
    """Each gateway's socket is in a directory of its own, which ends with it alone."""
    added = re.search(
        r"^Environment=GATEWAY_UNIX_SOCKET=(.*)$", INSTANCES.read_text(), re.MULTILINE
    )
    directory = re.search(r"^RuntimeDirectory=(.*)$", INSTANCES.read_text(), re.MULTILINE)
    assert added is not None
    assert directory is not None
    assert added[1].startswith(f"%t/{directory[1]}/")
    assert "%i" in directory[1]


def test_drain_fits(service: configparser.SectionProxy) -> None:
    """systemd waits longer than the drain of the production sample takes, with 10 s to spare."""
    sample = tomllib.loads((ROOT / "config" / "production.toml").read_text())
    assert float(service["TimeoutStopSec"]) >= sample["drain_seconds"] + 10


def test_wrong_settings_are_final(service: configparser.SectionProxy) -> None:
    """A start that fails for its settings is not repeated; every other end is."""
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == str(ConfigurationError.EXIT_STATUS)


async def test_runs(
    service: configparser.SectionProxy, here: dict[str, str], redis_url: str
) -> None:
    """What the unit starts, with the samples and a secret filled in, serves until SIGTERM."""
    process = await _start(service, here, GATEWAY_JWT_SECRET=SECRET, REDIS_URL=redis_url)
    try:
        url = await asyncio.wait_for(_listening(process), DEADLINE)
        async with ClientSession() as session:

            async def healthy() -> bool:
                async with session.get(f"{url}/api/v1/sse/health") as response:
                    return response.status == 200

            await eventually(healthy)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), DEADLINE) == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_secret_is_asked_for(
    service: configparser.SectionProxy, here: dict[str, str]
) -> None:
    """With the samples as they are, the start ends with status 78 and names the secret alone."""
    process = await _start(service, here)
    said, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert process.returncode == ConfigurationError.EXIT_STATUS
    assert re.findall("GATEWAY_[A-Z_]+(?=:)", said.decode()) == ["GATEWAY_JWT_SECRET"]


async def _start(
    service: configparser.SectionProxy, here: dict[str, str], **filled_in: str
) -> Process:
    """Run ExecStart with the sample of its environment file, some of it *filled_in*."""
    assert service["EnvironmentFile"] == "-/etc/sse-gateway/environment"
    sample = (ROOT / "config" / "production.env").read_text()
    file = dict(re.findall(r"^(\w+)=(.*)$", sample, re.MULTILINE))
    own = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
    return await asyncio.create_subprocess_exec(
        *shlex.split(_placed(service["ExecStart"], here)),
        env={**own, **file, **filled_in, "GATEWAY_PORT": "0"},
        stdout=PIPE,
        stderr=STDOUT,
    )


async def _listening(process: Process) -> str:
    """The address that the banner shows."""
    assert process.stdout is not None
    while line := await process.stdout.readline():
        if found := re.search(r"http://[\w.:]+", line.decode()):
            return found[0]
    raise AssertionError("the gateway ended before it listened")
