"""The package's own unit tests, in Node's test runner."""

import subprocess
from pathlib import Path

from tests.npm import NODE

HERE = Path(__file__).parent


def test_unit_tests() -> None:
    """Every test of the package passes in Node, and there are some."""
    files = sorted(map(str, HERE.glob("*.test.mjs")))
    # They wait more than they compute.
    options = ("--test", "--test-concurrency=4", "--test-reporter=spec")
    command = [NODE, *options, *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170)
    # The tests that failed are repeated at the end.
    assert done.returncode == 0, done.stdout[-5000:]
    passed = [line for line in done.stdout.splitlines() if line[1:].startswith(" pass ")]
    assert passed
    assert int(passed[0].split()[-1]) >= len(files)
