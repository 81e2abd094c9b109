"""The scenarios, in the order in which they are played.

To add one: a module with an `async def play(stage)` that measures and calls `stage.add`, and a line
here.
"""

from collections.abc import Awaitable, Callable

from tests.bench.scenarios import (
    delivery,
    firsts,
    fleet,
    frozen,
    idle,
    ingest,
    latency,
    lists,
    memory,
    opening,
    publish,
    recovery,
    restart,
    saturation,
    start,
)
from tests.bench.stage import Stage

SCENARIOS: dict[str, Callable[[Stage], Awaitable[None]]] = {
    "delivery": delivery.play,
    "bursts": delivery.play_bursts,
    "saturation": saturation.play,
    "memory": memory.play,
    "churn": memory.play_churn,
    "recorded": ingest.play_recorded,
    "ids": ingest.play_ids,
    "unwatched": ingest.play_unwatched,
    "one": ingest.play_one,
    "publish": publish.play,
    "latency": latency.play,
    "firsts": firsts.play,
    "opening": opening.play,
    "start": start.play,
    "restart": restart.play,
    "recovery": recovery.play,
    "frozen": frozen.play,
    "idle": idle.play,
    "lists": lists.play,
    "fleet": fleet.play,
    "fleet-cluster": fleet.play_on_cluster,
}
