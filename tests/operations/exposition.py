"""The metrics that a real gateway shows, by name."""

from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import RunningGateway


async def sample_names(gateway: RunningGateway) -> set[str]:
    """Names as queries use them: `sse_gateway_streams_opened_total`, `…_bucket` and so on."""
    return {sample.name for family in await families(gateway) for sample in family.samples}


async def families(gateway: RunningGateway) -> list:  # type: ignore[type-arg]
    async with gateway.session.get(f"{gateway.server.admin_url}/metrics") as response:
        return list(text_string_to_metric_families(await response.text()))
