"""The examples for React, Vue, Svelte and Next, built by vite as an application builds them, and
the plain page, which needs no build."""

import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from redis.asyncio import Redis

import gateway.client
from gateway.access.tokens import issue
from tests.browser.tab import Tab
from tests.conftest import StartGateway
from tests.npm import MODULES, NODE
from tests.support import SECRET, eventually, producer_message, served

PACKAGE = Path(gateway.client.__file__).parent
PROJECT = Path(__file__).parent / "examples"
TOKEN = issue(SECRET, organization_id="acme")
STEP = {"node_id": "n1", "node_type": "signature"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The application's files as they are served."""
    project = tmp_path_factory.mktemp("examples")
    shutil.copytree(PROJECT, project, dirs_exist_ok=True)
    shutil.copytree(PACKAGE / "examples", project / "examples")
    modules = project / "node_modules"
    modules.mkdir()
    for module in MODULES.iterdir():
        (modules / module.name).symlink_to(module)
    (modules / "sse-gateway-client").symlink_to(PACKAGE)
    done = subprocess.run(
        [NODE, MODULES / "vite" / "bin" / "vite.js", "build"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warn" not in (done.stdout + done.stderr).lower()
    return project / "dist"


@pytest.fixture
async def origin(built: Path) -> AsyncIterator[str]:
    """The origin of the application, which also gives Next's example and the plain page a token."""

    async def index(_: web.Request) -> web.FileResponse:
        return web.FileResponse(built / "index.html")

    async def token(_: web.Request) -> web.Response:
        return web.Response(text=TOKEN)

    async def plain(request: web.Request) -> web.Response:
        page = (PACKAGE / "examples" / "run.html").read_text(encoding="utf-8")
        page = page.replace("https://gateway.example.com", request.query["gateway"])
        return web.Response(text=page, content_type="text/html")

    async def no_icon(_: web.Request) -> web.Response:
        return web.Response(status=204)

    application = web.Application()
    application.router.add_get("/", index)
    application.router.add_get("/plain", plain)
    application.router.add_get("/favicon.ico", no_icon)
    application.router.add_post("/api/token", token)
    application.router.add_static("/assets", built / "assets")
    async with served(application) as address:
        yield address


async def test_examples(start_gateway: StartGateway, redis: Redis, origin: str, tab: Tab) -> None:
    """Each shows a run live, from another origin, to its end; when it is taken from the page, its
    stream ends. Nothing is in the console."""
    gateway = await start_gateway(ownership="token", cors_origins=origin)
    await tab.page.goto(origin)

    async def shows(*texts: str) -> None:
        found = {}

        async def so() -> bool:
            found["text"] = text = await tab.page.inner_text("body")
            return all(one in text for one in texts)

        try:
            await eventually(so)
        except AssertionError as error:
            error.add_note(f"{framework}: {found}, {tab.errors}")
            raise

    async def start() -> None:
        if framework == "plain":
            await tab.page.goto(f"{origin}/plain?id=run-plain&gateway={gateway.url}")
        else:
            await tab.page.evaluate("given => start(given)", [framework, gateway.url, TOKEN])

    async def end() -> None:
        if framework == "plain":
            await tab.page.goto("about:blank")
        else:
            await tab.page.evaluate("() => end()")

    for framework in ("react", "next", "vue", "svelte", "plain"):
        channel = f"execution:run-{framework}"
        for event_type, step in (("step:started", "running"), ("step:completed", "success")):
            await start()
            await shows("live")
            await redis.publish(channel, producer_message(event_type, **STEP))
            await shows("running", "live", f"signature: {step}")
            assert gateway.server.streams == 1
            await end()
            await eventually(lambda: gateway.server.streams == 0)
        await redis.publish(channel, producer_message("execution:completed"))
        await start()
        await shows("completed", "closed", "signature: success")
        await end()
    assert tab.errors == []
