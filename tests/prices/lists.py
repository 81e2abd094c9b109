"""Lists of executions: of 10,000, by every filter, and of one page of long histories."""

from gateway.bus import scripts
from gateway.contract.index import AT_ONCE, Note, index_call
from gateway.contract.scripts import HistoryLimits
from tests.harness.raw import Connection
from tests.prices.gateways import ATTACKER
from tests.prices.row import MIB, Attack, Row
from tests.prices.stage import Stage

_KNOWN = 10_000
_PATH = f"organizations/{ATTACKER}/executions"
_POLLS = "list_bytes, list_entries, max_polls_per_second"
_OPENS = "list_bytes, list_entries, max_opens_per_second"


async def _index(stage: Stage, _size: int, _times: int) -> None:
    """As many executions as a list knows; most of them are not there any more."""
    ids = [f"listed-{number}" for number in range(_KNOWN)]
    for begin in range(0, _KNOWN, AT_ONCE):
        some = ids[begin : begin + AT_ONCE]
        await scripts.run(
            stage.redis,
            index_call(ATTACKER, [Note("registered", one) for one in some], limits=HistoryLimits()),
        )
    for one in ids[-200:]:
        await stage.register(one)


def _get(query: str, headers: str, path: str = f"/api/v1/{_PATH}") -> str:
    return f"GET {path}?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"


def _polls(query: str) -> Attack:
    """Ask for a page, each of a subject of its own; *query* is formatted with the number."""

    async def attack(stage: Stage, size: int, times: int) -> None:
        async def one(number: int) -> None:
            await stage.read_all(_get(query.format(number), stage.headers()))

        await stage.each(times, one)

    return attack


async def _garbage(stage: Stage, size: int, times: int) -> None:
    """Pages that begin at what no answer has named."""
    headers = stage.headers()
    await stage.each(times, lambda number: stage.ask(_get(f"before={'A' * size}{number}", headers)))


async def _streams(stage: Stage, size: int, times: int) -> None:
    """Streams of one list, all at once, and an event of each of its executions meanwhile."""
    path = f"/api/v1/sse/{_PATH}/stream"
    connections: list[Connection] = []

    async def one(_number: int) -> None:
        connection = await stage.connect()
        connections.append(connection)
        connection.send(_get("", stage.headers(), path))
        said = await connection.hear(quiet=0)
        assert said.statuses == [200], said.data

    await stage.each(times, one)
    for number in range(20):
        await stage.append(f"listed-{_KNOWN - 1 - number}")
    await stage.arrived()
    for one_of_them in connections:
        one_of_them.abort()


ROWS = [
    Row("pages of a list of 10,000", _polls("limit=100"), _POLLS, times=20, cpu=0.05,
        keeps=20 * MIB, prepare=_index),
    Row("pages of a list by a filter of their own", _polls("workflow_id=w{}&limit=1"), _POLLS,
        times=20, cpu=0.05, keeps=20 * MIB, prepare=_index),
    Row("pages of a list from invented places", _garbage, _POLLS, size=1900, times=20),
    Row("streams of one list", _streams, _OPENS, times=20, cpu=0.05, keeps=20 * MIB,
        prepare=_index),
]  # fmt: skip
