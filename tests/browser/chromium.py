"""A real Chromium of the tests' own, started once; Playwright connects to it.

Not launched by Playwright itself: that holds every page for visible, and a tab in the background
must be hidden here, as it is for people.
"""

import re
import subprocess
import tempfile
import threading

from tests.support import DEADLINE, require

REBOUND = "rebound.example"
"""A host that resolves to this machine, in this browser."""

# fmt: off
_OPTIONS = (
    "--headless=new", "--remote-debugging-port=0", "--no-sandbox", "--disable-gpu",
    "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    # A name of somebody else's that his name server has pointed at this machine.
    f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1",
)
# fmt: on


class Chromium:
    """One browser process; `endpoint` is where it is driven from."""

    def __init__(self) -> None:
        self._profile = tempfile.TemporaryDirectory(
            # Its last files are written while it ends.
            prefix="gateway-chromium-",
            ignore_cleanup_errors=True,
        )
        self._process = subprocess.Popen(
            [require("chromium"), *_OPTIONS, f"--user-data-dir={self._profile.name}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.endpoint = self._announced()
        # What it says later is read too: a full pipe would stop it.
        self._reader = threading.Thread(target=self._said)
        self._reader.start()

    def _announced(self) -> str:
        too_late = threading.Timer(DEADLINE, self._process.kill)
        too_late.start()
        said = []
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"DevTools listening on (\S+)", line):
                too_late.cancel()
                return found[1]
            said.append(line)
        raise AssertionError("Chromium did not start: " + "".join(said))

    def _said(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.read()

    def stop(self) -> None:
        """End it, and remove its profile."""
        self._process.terminate()
        self._process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._profile.cleanup()
