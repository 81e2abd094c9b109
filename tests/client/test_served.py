"""The package as the gateway serves it: importable from any page that may read streams."""

import re
from importlib.resources import files

import orjson

from gateway import __version__
from tests.conftest import RunningGateway, StartGateway

PATH = "/api/v1/sse/client"


async def test_modules(gateway: RunningGateway) -> None:
    """Each module is served as JavaScript, and imports the others by addresses that hold the
    package's version: a browser caches those without limit, and validates the first one."""
    async with gateway.session.get(f"{gateway.url}{PATH}/index.js") as response:
        assert response.status == 200
        assert response.content_type == "text/javascript"
        assert response.headers["Cache-Control"] == "public, no-cache"
        source = await response.text()
        tag = response.headers["ETag"]
    imported = re.findall(r'from "\./([\w.?=]+)"', source)
    assert imported
    seen = set()
    while imported:
        name = imported.pop()
        if name in seen:
            continue
        seen.add(name)
        assert "?v=" in name
        async with gateway.session.get(f"{gateway.url}{PATH}/{name}") as response:
            assert response.status == 200
            assert "immutable" in response.headers["Cache-Control"]
            imported += re.findall(r'from "\./([\w.?=]+)"', await response.text())
    assert len(seen) >= 8
    async with gateway.session.get(
        f"{gateway.url}{PATH}/index.js", headers={"If-None-Match": tag}
    ) as response:
        assert (response.status, await response.read()) == (304, b"")


async def test_only_the_package(gateway: RunningGateway) -> None:
    """Nothing but the package's modules and types is served, and an old version is never kept."""
    for name in ("__init__.py", "package.json", "nothing.js", "..%2Fapp.py", "%2e%2e/app.py"):
        async with gateway.session.get(f"{gateway.url}{PATH}/{name}") as response:
            assert response.status == 404, name
    async with gateway.session.get(f"{gateway.url}{PATH}/fold.js?v=old") as response:
        assert response.headers["Cache-Control"] == "public, no-cache"
    async with gateway.session.get(f"{gateway.url}{PATH}/index.d.ts") as response:
        assert (response.status, response.content_type) == (200, "text/plain")


async def test_other_origin(start_gateway: StartGateway) -> None:
    """A page of an origin that may read streams may import it."""
    gateway = await start_gateway(ownership="token", cors_origins="https://app.example.com")
    url = f"{gateway.url}{PATH}/index.js"
    headers = {"Origin": "https://app.example.com"}
    async with gateway.session.get(url, headers=headers) as response:
        assert response.headers["Access-Control-Allow-Origin"] == "https://app.example.com"


def test_package_file() -> None:
    """`package.json` has the version of the gateway, and every file that it names exists."""
    client = files("gateway").joinpath("client")
    package = orjson.loads(client.joinpath("package.json").read_bytes())
    assert package["version"] == __version__
    for entry in package["exports"].values():
        for name in entry.values():
            assert client.joinpath(name).is_file(), name
