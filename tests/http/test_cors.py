"""Pages of other origins, as a browser asks for them."""

import pytest

from tests.conftest import RunningGateway, StartGateway, credentials

ORIGIN = "https://app.example.com"
CONTRACT_HEADERS = (
    "authorization,x-organization-id,last-event-id,if-none-match,cache-control,content-type"
)


async def test_allowed_origin(start_gateway: StartGateway) -> None:
    """A listed origin may read streams, and errors too; the answer varies by Origin."""
    gateway = await start_gateway(ownership="token", cors_origins=ORIGIN)
    for headers, status in ((credentials(), 200), ({}, 401)):
        async with gateway.session.get(
            gateway.stream_url("run-1"), headers={**headers, "Origin": ORIGIN}
        ) as response:
            assert response.status == status
            assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
            assert response.headers["Access-Control-Allow-Credentials"] == "true"
            assert response.headers["Vary"] == "Origin"
            exposed = response.headers["Access-Control-Expose-Headers"]
            assert {"ETag", "Retry-After"} <= set(exposed.split(","))


async def test_preflight(start_gateway: StartGateway) -> None:
    """A preflight with every header of the contract is answered."""
    gateway = await start_gateway(ownership="token", cors_origins=ORIGIN)
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": CONTRACT_HEADERS,
    }
    async with gateway.session.options(gateway.stream_url("run-1"), headers=asked) as response:
        assert response.status == 200
        allowed = response.headers["Access-Control-Allow-Headers"].lower()
        assert set(CONTRACT_HEADERS.split(",")) <= set(allowed.split(","))
        assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origins", ["", ORIGIN])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://app.example.com"])
async def test_other_origins(start_gateway: StartGateway, origins: str, origin: str) -> None:
    """An origin that is not listed gets no leave, and without a list nobody does."""
    gateway = await start_gateway(ownership="token", cors_origins=origins)
    async with gateway.session.get(
        gateway.stream_url("run-1"), headers={**credentials(), "Origin": origin}
    ) as response:
        assert "Access-Control-Allow-Origin" not in response.headers
        assert response.headers["Vary"] == "Origin"


async def test_all_origins_without_credentials(start_gateway: StartGateway) -> None:
    """`*` lets every origin read, but never with the browser's own credentials."""
    gateway = await start_gateway(ownership="token", cors_origins="*", cors_credentials=False)
    async with gateway.session.get(
        gateway.stream_url("run-1"), headers={**credentials(), "Origin": "https://any.example"}
    ) as response:
        assert response.headers["Access-Control-Allow-Origin"] in ("*", "https://any.example")
        assert "Access-Control-Allow-Credentials" not in response.headers


async def test_same_origin_without_origin_header(gateway: RunningGateway) -> None:
    """A request without Origin, as same-origin GETs are, is served."""
    async with await gateway.get("run-1") as response:
        assert response.status == 200
