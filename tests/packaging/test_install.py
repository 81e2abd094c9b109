"""`make install` and `make uninstall`, for real, into a directory of the test's own."""

import configparser
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gateway import __version__
from gateway.settings import load
from tests.packaging.checkout import ROOT, copy_checkout, without_make
from tests.support import SECRET, require

INSTALLING = pytest.mark.timeout(300)
"""pip fetches the dependencies, if it has not kept them."""


class Machine:
    """A copy of this checkout, and the places that an install writes to."""

    def __init__(self, directory: Path) -> None:
        self.checkout = directory / "checkout"
        self.prefix = directory / "opt" / "sse-gateway"
        self.config = directory / "etc" / "sse-gateway"
        self.units = directory / "units"
        self.program = self.prefix / "bin" / "sse-gateway"
        copy_checkout(self.checkout)

    def make(
        self, *words: str, environment: Mapping[str, str] = {}
    ) -> subprocess.CompletedProcess[str]:
        places = {"PREFIX": self.prefix, "CONFIG_DIR": self.config, "UNIT_DIR": self.units}
        return subprocess.run(
            [require("make"), *words, f"PYTHON={sys.executable}"]
            + [f"{name}={path}" for name, path in places.items()],
            # Else it is this checkout that the installed program runs.
            env={name: value for name, value in without_make().items() if name != "PYTHONPATH"}
            | dict(environment),
            cwd=self.checkout,
            capture_output=True,
            text=True,
        )

    def made(self, *words: str, environment: Mapping[str, str] = {}) -> str:
        """What make said; it must go through without a complaint."""
        done = self.make(*words, environment=environment)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        return done.stdout

    def version(self) -> str:
        command = [str(self.program), "--version"]
        # From elsewhere, so that it is what was installed that runs.
        return subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stdout


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def complaints(machine: Machine) -> str:
    """What systemd has to say about the units."""
    files = sorted(map(str, machine.units.glob("sse-gateway*.*")))
    assert len(files) == 4
    command = [require("systemd-analyze"), "verify", *files]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.long
@INSTALLING
def test_install_upgrade_uninstall(machine: Machine) -> None:
    """The first install makes all but the settings, and says what comes next; what `make wheels`
    has fetched is all that it needs, and without it and a network it fails. An upgrade brings the
    new program and sample, and keeps settings and credentials; uninstall removes all but these."""
    nowhere = {
        **dict.fromkeys(("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"), ""),
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "0",
        "PIP_NO_CACHE_DIR": "1",
    }
    assert machine.make("install", environment=nowhere).returncode != 0
    machine.made("wheels")
    said = machine.made("install", "OFFLINE=dist/wheels", environment=nowhere)
    assert '"Configure it"' in said
    assert __version__ in machine.version()
    assert complaints(machine) == ""
    [unit] = machine.units.glob("sse-gateway.service")
    assert f"{machine.program} serve --config {machine.config}/gateway.toml\n" in unit.read_text()
    assert f"ConditionPathExists={machine.config}/gateway.toml\n" in unit.read_text()
    assert not (machine.config / "gateway.toml").exists()
    sample = machine.config / "gateway.toml.sample"
    credentials = machine.config / "credentials"
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o700
    assert load(sample, jwt_secret=SECRET).log_format == "json"
    assert f"Documentation=file:{machine.config}/OPERATIONS.md\n" in unit.read_text()
    assert "### SseGatewayDown\n" in (machine.config / "OPERATIONS.md").read_text()
    assert "runbook_url" not in (machine.config / "alerts.yml").read_text()

    (machine.config / "gateway.toml").write_text("# mine")
    (credentials / "jwt_secret").write_text(SECRET)
    sample.write_text("# old")
    unit.write_text("# old")
    # Newer, though its version has not changed.
    (machine.checkout / "gateway" / "news.py").touch()
    link = "https://wiki.example.com/OPERATIONS.md"
    assert "systemctl restart sse-gateway" in machine.made("install", f"RUNBOOK_URL={link}")
    alerts = (machine.config / "alerts.yml").read_text()
    assert alerts.count("runbook_url: ") == alerts.count("- alert: ")
    assert f"\n          runbook_url: {link}#ssegatewaydown\n" in alerts
    promtool = [require("promtool"), "check", "rules", str(machine.config / "alerts.yml")]
    subprocess.run(promtool, check=True, capture_output=True)
    assert list(machine.prefix.rglob("site-packages/gateway/news.py"))
    assert (machine.config / "gateway.toml").read_text() == "# mine"
    assert (credentials / "jwt_secret").read_text() == SECRET
    assert "# old" not in sample.read_text() + unit.read_text()

    wanted = machine.units / "multi-user.target.wants"
    wanted.mkdir()
    (wanted / "sse-gateway.service").symlink_to(unit)
    refused = machine.make("uninstall")
    assert "systemctl disable --now sse-gateway.service, and call" in refused.stderr
    assert machine.program.exists()
    shutil.rmtree(wanted)
    machine.made("uninstall")
    assert not machine.prefix.exists()
    assert list(machine.units.iterdir()) == []
    kept = {str(path.relative_to(machine.config)) for path in machine.config.rglob("*")}
    assert kept == {"gateway.toml", "credentials", "credentials/jwt_secret"}
    # Nothing is left to remove, and that is no error.
    machine.made("uninstall")


@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_somebody_elses(machine: Machine, target: str) -> None:
    """A directory that holds something else is neither installed into nor removed."""
    machine.prefix.mkdir(parents=True)
    (machine.prefix / "theirs").touch()
    done = machine.make(target)
    assert done.returncode == 2
    assert f"{machine.prefix} holds something else" in done.stderr
    assert [path.name for path in machine.prefix.iterdir()] == ["theirs"]


@INSTALLING
@pytest.mark.long
@pytest.mark.parametrize("package", ["click", "setuptools"])
def test_a_file_that_is_not_the_tested_one(machine: Machine, package: str) -> None:
    """A package whose file has another hash than the one that was written down, be it only one that
    builds the gateway, ends the install before any of them is installed."""
    requirements = machine.checkout / "config" / "requirements.txt"
    text = requirements.read_text()
    tampered = re.sub(
        rf"(?m)^{package}==.*(\n +--hash=.*)+",
        lambda found: re.sub(r"sha256:\w{8}", "sha256:00000000", found[0]),
        text,
    )
    assert tampered != text
    requirements.write_text(tampered)
    done = machine.make("install")
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert f"{package}==" in done.stderr
    assert not machine.program.exists()
    assert not list(machine.prefix.rglob("site-packages/aiohttp"))


def test_hashes_are_of_the_tested_versions() -> None:
    """What `make install` installs is all that setup.cfg asks for, in the versions of the
    constraints, each with hashes and nothing from another place."""
    config = ROOT / "config"
    lines = (config / "requirements.txt").read_text().replace("\\\n", "").splitlines()
    pinned = {}
    for line in lines:
        if line.startswith("#"):
            continue
        found = re.fullmatch(r"([\w.-]+)==(\S+)( ; .+?)?( +--hash=sha256:[0-9a-f]{64})+", line)
        assert found is not None, line[:200]
        pinned[canonicalize_name(found[1])] = found[2]
    tested = {}
    for line in (config / "constraints.txt").read_text().splitlines()[1:]:
        name, _, version = line.partition("==")
        tested[canonicalize_name(name)] = version
    # What builds the package, and what a Python below 3.11.3 needs besides.
    others = {"setuptools", "async-timeout"}
    assert {name: tested.get(name) for name in pinned if name not in others} == {
        name: version for name, version in pinned.items() if name not in others
    }
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    needed = map(Requirement, setup["options"]["install_requires"].split("\n")[1:])
    assert {canonicalize_name(one.name) for one in needed} <= pinned.keys()


def test_without_an_environment(machine: Machine) -> None:
    """What cannot be written to ends the install with an error, before anything else is made."""
    machine.prefix.parent.mkdir()
    machine.prefix.write_text("a file")
    assert machine.make("install").returncode != 0
    assert not machine.config.exists()
    assert not machine.units.exists()


@pytest.mark.parametrize("version", [252, 253])
def test_units_fit_the_version_of_systemd(tmp_path: Path, version: int) -> None:
    """From 253 on systemd sends SIGHUP itself and waits for the gateway. Before, it does not know
    that type of unit, and would take it for a plain one."""
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\necho 'systemd {version} ({version}.1)'\n")
    (tmp_path / "systemctl").chmod(0o755)
    environment = without_make()
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    command = [require("make"), "-n", "install", f"PYTHON={sys.executable}"]
    command += [f"PREFIX={tmp_path}/none", f"UNIT_DIR={tmp_path}"]
    said = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    [placing] = [line for line in said.stdout.splitlines() if line.startswith("for unit in")]
    subprocess.run(["sh", "-c", placing], cwd=ROOT, check=True)
    for unit in ("sse-gateway.service", "sse-gateway@.service"):
        lines = (tmp_path / unit).read_text().splitlines()
        by_systemd = version >= 253
        assert ("Type=notify-reload" in lines, "Type=notify" in lines) == (
            by_systemd,
            not by_systemd,
        )
        assert ("ExecReload=/bin/kill -HUP $MAINPID" in lines) != by_systemd
        assert any("sse-gateway check --offline" in line for line in lines)
