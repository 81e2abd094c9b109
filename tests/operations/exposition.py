"""The metrics that a real gateway shows."""

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import RunningGateway


async def families(gateway: RunningGateway) -> list[Metric]:
    """Each with its samples, named as queries name them: `…_total`, `…_bucket` and so on."""
    async with gateway.session.get(f"{gateway.server.admin_url}/metrics") as response:
        return list(text_string_to_metric_families(await response.text()))
