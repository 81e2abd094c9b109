"""The table of prices: whatever a stranger sends costs no more than its row says."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from tests.prices.gateways import GATEWAYS
from tests.prices.row import Row
from tests.prices.stage import Stage
from tests.prices.table import OF_EACH_KIND, ROWS

pytestmark = pytest.mark.asyncio(loop_scope="module")

StageOf = Callable[[str], Awaitable[Stage]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stages() -> AsyncIterator[dict[str, Stage]]:
    """One for each gateway that a row has named, for all rows after it."""
    open_ones: dict[str, Stage] = {}
    yield open_ones
    for stage in open_ones.values():
        await stage.close()


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row.name, marks=() if row in OF_EACH_KIND else pytest.mark.long)
        for row in ROWS
    ],
)
async def test_price(stages: dict[str, Stage], row: Row) -> None:
    """An attack costs CPU, memory and a bystander's time below its bounds; twice the input costs
    less than three times as much; and the bystander loses nothing meanwhile."""
    if row.gateway not in stages:
        stages[row.gateway] = stage = Stage(GATEWAYS[row.gateway])
        await stage.open()
    stage = stages[row.gateway]
    try:
        figures = await stage.measure(row)
        print(f"{row.name}: {figures}")
        faults = row.faults(figures)
        assert not faults, "\n".join(faults)
    except BaseException:
        # What the attack has broken is not to fail the rows after it.
        del stages[row.gateway]
        await stage.close()
        raise
