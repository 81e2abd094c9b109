"""What Linux tells of a process in /proc."""

import re
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether process *pid* runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        # The latter when it ends between the opening and the reading.
        return False


def parent(pid: int) -> int:
    """The process that started *pid*."""
    return _status(pid, "PPid")


def children(pid: int) -> list[int]:
    """The processes that process *pid* has started."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def descendants(pid: int) -> list[int]:
    """The processes that process *pid* has started, and those that they have."""
    own = children(pid)
    return own + [pid for child in own for pid in descendants(child)]


def sockets(pid: int) -> int:
    """How many sockets a process has open."""
    return sum("socket:" in str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir())


def cpu_seconds(pid: int) -> float:
    """CPU time that all threads of a process have used so far."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def wakeups(pid: int) -> int:
    """How often the threads of a process have slept so far, and so were woken."""
    pattern = re.compile(r"^voluntary_ctxt_switches:\s+(\d+)", re.MULTILINE)
    statuses = [one.read_text() for one in Path(f"/proc/{pid}/task").glob("*/status")]
    return sum(int(found[1]) for one in statuses if (found := pattern.search(one)) is not None)


def rss_kib(pid: int) -> int:
    """Resident memory of a process, in KiB."""
    return _status(pid, "VmRSS")


def own_kib(pid: int) -> int:
    """Memory that a process has written, in KiB. The rest of what is resident are parts of
    programs, which the kernel takes away and brings back as it likes."""
    return _status(pid, "RssAnon")


def _status(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None, f"no {name}: process {pid} has ended"
    return int(found[1])
