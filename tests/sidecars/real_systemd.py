"""A real systemd, as process 1 of namespaces of its own, that knows nothing but our units.

It needs what a privileged container or root on a machine has; elsewhere its tests are skipped. It
has its own mounts, its own processes and a control group of its own below the test's, and of the
machine's kernel settings it can write none. The network is the test's.
"""

import errno
import os
import shlex
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.support import DEADLINE, require

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
PREFIX = "/opt/sse-gateway"
CONFIG = "/opt/etc/sse-gateway"
"""Both are on a file system that only this systemd sees: the machine's /etc stays as it is."""

_HERE = "/run/here"
"""The test's directory, as that systemd sees it."""

_SYSTEMD = "/lib/systemd/systemd"
# Those that units are ordered by.
_TARGETS = ("sysinit", "basic", "shutdown", "sockets", "network", "multi-user")

# The shell that prepares the mounts becomes systemd. What a distribution installs below /opt is
# here an environment of the Python that runs the tests, whose real place may be in a home
# directory, which the sandbox hides.
_BOOT = f"""
set -e
# Private so far; systemd passes credentials on by mounts that its services share.
mount --make-rshared /
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t tmpfs tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /run/lock {_HERE}
mount --bind "$HERE" {_HERE}
mount --bind {_HERE}/console /dev/console
mount --bind {_HERE}/units /etc/systemd/system
mount -t tmpfs -o mode=755 tmpfs /opt
mkdir -p /opt/python /opt/checkout {PREFIX}/bin {PREFIX}/lib/$VERSION/site-packages
mkdir -p {CONFIG}/credentials
mount --bind "$BASE" /opt/python
mount --bind "$CHECKOUT" /opt/checkout
mount --bind "$PACKAGES" {PREFIX}/lib/$VERSION/site-packages
ln -s /opt/python/bin/$VERSION {PREFIX}/bin/python
echo "home = /opt/python/bin" > {PREFIX}/pyvenv.cfg
cat > {PREFIX}/bin/sse-gateway << END
#!{PREFIX}/bin/python
from gateway.cli.main import main
main()
END
chmod 755 {PREFIX}/bin/sse-gateway
# What PrivateTmp= makes would stay behind.
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /var/tmp
touch {_HERE}/prepared
export container=test SYSTEMD_UNIT_PATH=/etc/systemd/system
exec {_SYSTEMD} --system --unit=multi-user.target --log-target=console --show-status=0
"""

_ENVIRONMENT = {"PYTHONPATH": "/opt/checkout", "LD_LIBRARY_PATH": "/opt/python/lib"}
"""The checkout is not installed, and its Python not where it was built for."""

# There is no journal here.
_DROP_IN = f"""[Service]
Environment={" ".join(f"{name}={value}" for name, value in _ENVIRONMENT.items())}
StandardOutput=append:{_HERE}/log
StandardError=append:{_HERE}/log
"""

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_NAMESPACES = ("--mount", "--pid", "--fork", "--uts", "--ipc", "--cgroup", "--kill-child")


class RealSystemd:
    """One running systemd with the project's units, which listen on *port*."""

    def __init__(self, directory: Path, port: int) -> None:
        self._directory = directory
        self._units = directory / "units"
        self._units.mkdir()
        (directory / "console").touch()
        for target in _TARGETS:
            (self._units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        for unit in UNITS.glob("sse-gateway*.*"):
            text = unit.read_text().replace("/etc/sse-gateway", CONFIG)
            (self._units / unit.name).write_text(
                text.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
            )
        self.drop_in("sse-gateway.service", _DROP_IN)
        self.drop_in("sse-gateway@.service", _DROP_IN)
        self.drop_in("sse-gateway-recorder.service", _DROP_IN)
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def drop_in(self, unit: str, text: str, name: str = "test") -> None:
        file = self._units / f"{unit}.d" / f"{name}.conf"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)

    def boot(self, group: Path) -> None:
        """Start it in the control group *group* and wait until it answers."""
        environment = {
            "PATH": _PATH,
            "HERE": str(self._directory),
            "BASE": sys.base_prefix,
            "CHECKOUT": str(ROOT),
            "PACKAGES": sysconfig.get_path("purelib"),
            "VERSION": f"python{sys.version_info.major}.{sys.version_info.minor}",
        }
        enter = f"echo $$ > {shlex.quote(str(group))}/cgroup.procs && exec "
        enter += shlex.join(["unshare", *_NAMESPACES, "bash", "-c", _BOOT])
        with (self._directory / "boot").open("wb") as output:
            self._process = subprocess.Popen(
                ["bash", "-c", enter], env=environment, stdout=output, stderr=output
            )
        wait(self._booted)

    def _booted(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            said = (self._directory / "boot").read_text()
            assert not (self._directory / "prepared").exists(), said
            pytest.skip(f"no systemd can be run here: {said}")
        pid = self._process.pid
        [*children] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self._pid = int(children[0]) if children else 0
        return bool(children) and self.run("systemctl", "is-system-running").stdout == "running\n"

    def run(self, *command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command inside, to its end; *given* is its standard input."""
        return subprocess.run(
            ["nsenter", "--target", str(self._pid), "--all", *command],
            env={"PATH": _PATH, **_ENVIRONMENT},
            input=given,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )

    def ctl(self, *words: str) -> str:
        """What `systemctl` says; fails if that fails."""
        done = self.run("systemctl", *words)
        assert done.returncode == 0, done.stdout + done.stderr + self.logged()
        return done.stdout.strip()

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.ctl("show", "--value", f"--property={name}", unit)

    def write(self, path: str, text: str, mode: str = "600") -> None:
        """A file below `CONFIG`, of root."""
        file = f"{CONFIG}/{path}"
        done = self.run("sh", "-c", f"umask 077; cat > {file}; chmod {mode} {file}", given=text)
        assert done.returncode == 0, done.stderr

    def logged(self) -> str:
        """All that the gateways wrote, and that systemd had to say."""
        files = (self._directory / "log", self._directory / "console")
        return "".join(file.read_text() for file in files if file.exists())

    def halt(self) -> None:
        """End all of it at once: with its first process, all others go."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def wait(condition: Callable[[], bool]) -> None:
    """Until *condition* is true."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


@contextmanager
def control_group() -> Iterator[Path]:
    """A control group below our own; skips the test where none may be made."""
    own = [line for line in Path("/proc/self/cgroup").read_text().splitlines() if line[0] == "0"]
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    roots = [mount[1] for mount in mounts if mount[2] == "cgroup2"]
    if not own or not roots or os.geteuid() != 0:
        pytest.skip("no systemd can be run here: that takes root and control groups of version 2")
    group = Path(roots[0] + own[0].removeprefix("0::")) / f"sse-gateway-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no systemd can be run here: {error}")
    try:
        yield group
    finally:
        for directory in sorted(group.glob("**/"), reverse=True):
            # Its last processes may still be on their way out.
            wait(partial(_removed, directory))


def _removed(directory: Path) -> bool:
    try:
        directory.rmdir()
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise
    return True


@contextmanager
def real_systemd(directory: Path, port: int) -> Iterator[RealSystemd]:
    """One that runs for as long as the block; skips the test where none can."""
    for program in ("unshare", "nsenter", "systemctl"):
        require(program)
    if subprocess.run(["unshare", *_NAMESPACES, "true"], capture_output=True).returncode:
        pytest.skip("no systemd can be run here: no namespaces may be made")
    systemd = RealSystemd(directory, port)
    with control_group() as group:
        try:
            systemd.boot(group)
            yield systemd
        finally:
            systemd.halt()
