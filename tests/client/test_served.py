"""The package as the gateway serves it: importable from any page that may read streams."""

import re
from importlib.resources import files

import orjson

from gateway import __version__
from gateway.client import archive
from tests.conftest import RunningGateway, StartGateway

PATH = "/api/v1/sse/client"


async def test_each_module_is_one_file_that_a_browser_checks_before_it_uses_it_again(
    gateway: RunningGateway,
) -> None:
    """It imports nothing, but for React; so a page waits for one answer."""
    for name in ("index.js", "executions.js", "react.js", "react-executions.js"):
        async with gateway.session.get(f"{gateway.url}{PATH}/{name}") as response:
            assert (response.status, response.content_type) == (200, "text/javascript")
            assert response.headers["Cache-Control"] == "public, no-cache"
            imports = set(re.findall(r'from"([^"]+)"', await response.text()))
            assert imports == ({"react"} if "react" in name else set())
            tag, vary = response.headers["ETag"], response.headers["Vary"]
        async with gateway.session.get(
            f"{gateway.url}{PATH}/{name}", headers={"If-None-Match": tag}
        ) as response:
            assert (response.status, await response.read()) == (304, b"")
            # A shared cache gives compressed files only to those who take them.
            assert response.headers["Vary"] == vary == "Origin, Accept-Encoding"


async def test_only_the_package(gateway: RunningGateway) -> None:
    """Nothing but the package is served: its modules, their types and its archive."""
    others = (
        "__init__.py",
        "package.json",
        "nothing.js",
        "served.js",
        "..%2Fapp.py",
        "%2e%2e/app.py",
    )
    for name in others:
        async with gateway.session.get(f"{gateway.url}{PATH}/{name}") as response:
            assert response.status == 404, name
    async with gateway.session.get(f"{gateway.url}{PATH}/index.d.ts") as response:
        assert (response.status, response.content_type) == (200, "text/plain")
    async with gateway.session.get(f"{gateway.url}{PATH}/package.tgz") as response:
        assert (response.status, response.content_type) == (200, "application/gzip")
        assert await response.read() == archive()[1]


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
        for name in [entry] if isinstance(entry, str) else entry.values():
            assert client.joinpath(name).is_file(), name
