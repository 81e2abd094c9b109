"""What a start does not wait for."""

import subprocess
import sys

from tests.support import SECRET

_START = """
import gc, sys
before = set(sys.modules)
from gateway.cli.main import cli
assert cli.get_command(None, "serve") is not None and gc.isenabled()
from gateway.server import Server
from gateway.settings import load
Server(load(None, jwt_secret=sys.argv[1]))
print(*sys.modules.keys() - before)
"""
_UNNEEDED = (
    # Of commands for people.
    "rich", "gateway.tools", "gateway.publisher",
    # Before the first scrape.
    "prometheus_client", "gateway.admin.exposition",
    # Without a file, a mistake or an embedded Redis.
    "tomllib", "difflib", "gateway.embedded", "gateway.valkey_process",
    # What `importlib.resources.files` needs, where a path does.
    "importlib.readers",
)  # fmt: skip


def test_serve_imports_nothing_that_a_start_can_do_without() -> None:
    """Each import delays the moment at which tabs can come back. What measures the coverage
    in every process has imported some of these before."""
    done = subprocess.run(
        [sys.executable, "-c", _START, SECRET], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    assert "gateway.components" in loaded
    assert not [name for name in loaded for one in _UNNEEDED if f"{name}.".startswith(f"{one}.")]
