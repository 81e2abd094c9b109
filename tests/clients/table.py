"""The table in gateway/client/CLIENTS.md, from what was seen of each library."""

from tests.clients.follower import Follower, version_of

_HEAD = (
    "| Library | Runs in | Token in | After a restart | After a crash | Goes on by | At the end |\n"
    "|---|---|---|---|---|---|---|\n"
)
_COMES_BACK = {True: "comes back", False: "your loop"}
_ENDS = {
    "library": "204: stops",
    "error": "204: raises",
    "program": "your code stops",
}


class Observed:
    """What was seen of one library."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self._restarted_by_itself = False
        self._killed_by_itself = False
        self._calls = 0

    def was_restarted(self) -> None:
        """It is back after a restart, which ended its stream in good order."""
        self._restarted_by_itself = self._came_back_by_itself()

    def was_killed(self) -> None:
        """It is back after a crash, which broke its stream off."""
        self._killed_by_itself = self._came_back_by_itself()

    def _came_back_by_itself(self) -> bool:
        before, self._calls = self._calls, self.follower.calls_again
        return self._calls == before

    def row(self) -> str:
        """Its line of the table."""
        name, runs_in = self.follower.name, self.follower.runs_in
        requests, statuses = self.follower.recorder.requests, self.follower.recorder.statuses
        assert len(requests) >= 3, f"{name} was not made to reconnect: {requests}"
        told = self.follower.over == "program" or statuses[-1] == 204
        assert told, f"{name} ended without a 204: {statuses}"
        cells = (
            f"{name} {version_of(name, runs_in)}".rstrip(),
            runs_in,
            "a header"
            if all("\nauthorization: bearer" in one for one in requests)
            else "the query",
            _COMES_BACK[self._restarted_by_itself],
            _COMES_BACK[self._killed_by_itself],
            _cursor(requests[1:]),
            _ENDS[self.follower.over],
        )
        return f"| {' | '.join(cells)} |\n"


def _cursor(returns: list[str]) -> str:
    if all("\nlast-event-id: " in one for one in returns):
        return "`Last-Event-ID`"
    if all("lastEventId=" in one for one in returns):
        return "`lastEventId`"
    return "nothing"


def table(observed: list[Observed]) -> str:
    """All of it."""
    return _HEAD + "".join(one.row() for one in observed)
