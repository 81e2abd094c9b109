"""The process of a load test's own gateway: it ends when the load test does, however that ends.

Its standard input is a pipe from the load test; when that ends (`kill -9` included), it stops as
on SIGTERM. It prints its URL once it listens. All else is `sse-gateway serve`.
"""

import asyncio
import signal
import sys

from gateway import log, server
from gateway.errors import GatewayError
from gateway.limits import raise_file_limit
from gateway.settings import Settings, load


def main() -> None:
    """Serve with the settings of the environment until told to stop."""
    try:
        settings = load()
        log.configure(settings.log_format, settings.log_level)
        raise_file_limit()
        server.run(settings, _ready, reread=lambda: settings)
    except GatewayError as error:
        sys.exit(str(error))


def _ready(running: server.Server, _: Settings) -> None:
    asyncio.get_running_loop().add_reader(sys.stdin, _starter_gone)
    print(running.url, flush=True)


def _starter_gone() -> None:
    asyncio.get_running_loop().remove_reader(sys.stdin)
    signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
