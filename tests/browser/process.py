"""A browser of the tests' own in a process, with a profile of its own, driven from an address."""

import re
import subprocess
import tempfile
import threading
from collections.abc import Callable

from tests.support import DEADLINE, require


class BrowserProcess:
    """One browser process; `endpoint` is where it is driven from."""

    def __init__(
        self, program: str, options: Callable[[str], tuple[str, ...]], announces: str
    ) -> None:
        """*options* are those for a profile's directory. On its standard error the program
        *announces* the endpoint: a pattern with one group."""
        self._profile = tempfile.TemporaryDirectory(
            # Its last files are written while it ends.
            prefix=f"gateway-{program}-",
            ignore_cleanup_errors=True,
        )
        self._process = subprocess.Popen(
            [require(program), *options(self._profile.name)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.endpoint = self._announced(announces)
        # What it says later is read too: a full pipe would stop it.
        self._reader = threading.Thread(target=self._said)
        self._reader.start()

    def _announced(self, announces: str) -> str:
        too_late = threading.Timer(DEADLINE, self._process.kill)
        too_late.start()
        said = []
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(announces, line):
                too_late.cancel()
                return found[1]
            said.append(line)
        raise AssertionError("The browser did not start: " + "".join(said))

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
