"""A real Chromium of the tests' own, started once; Playwright connects to it.

Not launched by Playwright itself: that holds every page for visible, and a tab in the background
must be hidden here, as it is for people.
"""

from tests.browser.process import BrowserProcess

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


class Chromium(BrowserProcess):
    """Chromium; its endpoint is for the DevTools protocol."""

    def __init__(self, *more: str) -> None:
        super().__init__(
            "chromium",
            lambda profile: (*_OPTIONS, *more, f"--user-data-dir={profile}"),
            r"DevTools listening on (\S+)",
        )
