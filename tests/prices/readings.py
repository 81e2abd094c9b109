"""What processes say of themselves: CPU time, memory, connections. Linux alone tells."""

import re
from pathlib import Path

from tests.harness.proc import cpu_seconds, own_kib, rss_kib

# Connected, and closed by the other end alone: `st` of /proc/net/tcp.
_OPEN_STATES = (b"01", b"08")


class Readings:
    """Of a gateway that listens on *port*, and of the Redis that works for it."""

    def __init__(self, gateway: int, redis: int, port: int) -> None:
        """Both by their pids."""
        self.pids = [gateway, redis]
        self._gateway = gateway
        self._port = f":{port:04X}".encode()

    def cpu(self) -> float:
        """Seconds that both have used so far."""
        return sum(map(cpu_seconds, self.pids))

    def own(self) -> int:
        """Bytes that the gateway has written."""
        return own_kib(self._gateway) * 1024

    def resident(self) -> int:
        """Bytes of the gateway's memory, programs too."""
        return rss_kib(self._gateway) * 1024

    def highest(self) -> int:
        """The most bytes that were resident since `forget_highest`."""
        status = Path(f"/proc/{self._gateway}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) * 1024

    def forget_highest(self) -> None:
        Path(f"/proc/{self._gateway}/clear_refs").write_text("5")

    def connections(self) -> int:
        """How many connections the gateway holds."""
        rows = [line.split()[1:4] for line in Path("/proc/net/tcp").read_bytes().splitlines()[1:]]
        return sum(local.endswith(self._port) and st in _OPEN_STATES for local, _, st in rows)
