"""The package, installed from a gateway into the applications of its users."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web
from redis.asyncio import Redis

from gateway.access.tokens import issue
from tests.browser.conftest import chromium, tab, window
from tests.browser.tab import Tab
from tests.conftest import StartGateway
from tests.npm import MODULES, NODE, NPM
from tests.support import SECRET, eventually, producer_message, served

__all__ = ["chromium", "tab", "window"]

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

SOURCES = Path(__file__).parent / "builders"

# The arguments for Node, and where the application is then.
BUILDERS = {
    "vite": (["{modules}/vite/bin/vite.js", "build", "--outDir=out-vite"], "out-vite"),
    "webpack": (
        ["{modules}/webpack/bin/webpack.js", "./main.js", "-o", "out-webpack", "--mode=production"],
        "out-webpack",
    ),
    "esbuild": (
        [f"{MODULES}/esbuild/bin/esbuild", "main.js", "--bundle", "--outfile=out-esbuild/main.js"],
        "out-esbuild",
    ),
    "next": (["{modules}/next/dist/bin/next", "build"], "out"),
}


async def run(project: Path, *command: str | Path) -> str:
    """What *command* prints in the project; it must succeed, without a warning."""
    path = os.pathsep.join([str(Path(sys.prefix, "bin")), os.environ["PATH"]])
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=project,
        env={**os.environ, "PATH": path, "NEXT_TELEMETRY_DISABLED": "1", "CI": "true"},
        capture_output=True,
        text=True,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "import.meta" not in said
    return said


@pytest.fixture(scope="module")
def builders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with all builders, and without the package."""
    project = tmp_path_factory.mktemp("project") / "builders"
    shutil.copytree(SOURCES, project)
    npm = (NPM, "ci", "--loglevel=error", "--no-audit", "--no-fund", "--ignore-scripts")
    asyncio.run(run(project, *npm))
    return project


@pytest.fixture
async def project(builders: Path, start_gateway: StartGateway) -> Path:
    """The same with the package, from a gateway's address."""
    gateway = await start_gateway()
    archive = f"{gateway.url}/api/v1/sse/client/package.tgz"
    quiet = ("--loglevel=error", "--no-audit", "--no-fund", "--ignore-scripts")
    await run(builders, NPM, "install", "--no-save", *quiet, archive)
    return builders


@pytest.mark.parametrize("builder", BUILDERS)
async def test_an_application_follows_a_run_to_its_end(
    builder: str, project: Path, start_gateway: StartGateway, redis: Redis, tab: Tab
) -> None:
    """And no file of it holds a path of the builder's machine."""
    arguments, directory = BUILDERS[builder]
    modules = project / "node_modules"
    await run(project, NODE, *(one.format(modules=modules) for one in arguments))
    out = project / directory
    if not (out / "index.html").exists():
        text = (project / "index.html").read_text()
        (out / "index.html").write_text(text.replace('type="module" ', ""))
    for file in out.rglob("*.js"):
        assert str(project) not in file.read_text()

    async def index(_: web.Request) -> web.FileResponse:
        return web.FileResponse(out / "index.html")

    application = web.Application()
    application.router.add_get("/", index)
    application.router.add_static("/", out)
    async with served(application) as origin:
        gateway = await start_gateway(ownership="token", cors_origins=origin)
        token = issue(SECRET, organization_id="acme")
        await tab.page.goto(f"{origin}/?id=run-1&base={gateway.url}&token={token}")
        await shows(tab, "live pending")
        await redis.publish("execution:run-1", producer_message("execution:completed"))
        await shows(tab, "closed completed")
    assert tab.errors == []


async def shows(tab: Tab, text: str) -> None:
    async def so() -> bool:
        return await tab.page.text_content("#run") == text

    await eventually(so)


async def test_jest_loads_the_package(project: Path) -> None:
    said = await run(project, NODE, project / "node_modules/jest/bin/jest.js", "--rootDir=.")
    assert "1 passed" in said


async def test_metro_bundles_the_package_as_react_native_does(project: Path) -> None:
    await run(project, NODE, "metro.mjs")
    look = "require('./native-bundle.js'); console.log(JSON.stringify(result))"
    assert '["pending","function"]' in await run(project, NODE, "-e", look)
