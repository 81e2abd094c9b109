"""What a publisher sends is what browsers get."""

from tests.conftest import StartGateway
from tests.publisher.conftest import Either


async def test_events_reach_open_and_late_streams(
    start_gateway: StartGateway, publisher: Either
) -> None:
    """Every event reaches an open stream and a late one under the id that the publisher was told,
    and the last one ends both."""
    gateway = await start_gateway(ownership="token")
    early = await gateway.open("run-1")
    ids = [
        await publisher.step_started("run-1", node_id="n1", node_type="email"),
        await publisher.execution_paused("run-1", reason="approval"),
        await publisher.execution_completed("run-1", execution_time_ms=60_000),
    ]
    live = await early.rest()
    late = await (await gateway.open("run-1")).rest()
    assert [event.id for event in live] == ids
    assert live == late
    assert [event.json()["id"] for event in live] == ids
    assert [event.event for event in live] == [
        "step:started",
        "execution:paused",
        "execution:completed",
    ]
