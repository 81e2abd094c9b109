"""How long the first event of an execution takes to its tab, right after the tabs have opened."""

from tests.bench.figures import Figure, percentile
from tests.bench.stage import Stage

_TARGETS = {1000: (1.0, 5.0), 4000: (None, 15.0)}
"""By events a second: milliseconds for half of all, and for 99 of 100."""


async def play(stage: Stage) -> None:
    """5,000 executions with one tab each, of which nothing is known; then the first event of each,
    as `Publisher` publishes it."""
    for rate, (half, most) in _TARGETS.items():
        executions = await stage.executions(stage.size(5000, 50))
        async with stage.gateway() as gateway:
            await gateway.crowd.open(executions)
            latencies = await stage.pace(
                gateway.crowd, executions, rate=rate, events=len(executions), script=True
            )
        stage.add(
            Figure(f"first events at {rate}/s, half", percentile(latencies, 0.5) * 1e3, "ms", half),
            Figure(
                f"first events at {rate}/s, 99 of 100",
                percentile(latencies, 0.99) * 1e3,
                "ms",
                most,
            ),
        )
