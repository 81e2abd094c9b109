"""A React application, made by a bundler as its developers make theirs, in a tab of the browser."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import gateway.client
from tests.browser.react.app import App
from tests.browser.servers import pages
from tests.browser.tab import Tab
from tests.npm import MODULES, NODE
from tests.support import served

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The application's files as they are served: a page and one classic script, in which
    `sse-gateway-client` is the package of this repository."""
    out = tmp_path_factory.mktemp("react")
    packages = out / "node_modules"
    packages.mkdir()
    (packages / "sse-gateway-client").symlink_to(Path(gateway.client.__file__).parent)
    shutil.copy(HERE / "index.html", out)
    subprocess.run(
        [
            *(NODE, MODULES / "esbuild" / "bin" / "esbuild", HERE / "page.jsx", "--bundle"),
            *("--jsx=automatic", "--jsx-dev", "--log-level=warning", f"--outfile={out}/page.js"),
        ],
        env={**os.environ, "NODE_PATH": os.pathsep.join(map(str, (packages, MODULES)))},
        check=True,
        timeout=60,
    )
    return out


@pytest.fixture
async def react_origin(built: Path) -> AsyncIterator[str]:
    """The origin of the application; it is not the gateway's."""
    async with served(pages(built)) as address:
        yield address


@pytest.fixture
async def app(react_origin: str, tab: Tab) -> App:
    """The application, open in a tab, showing nothing."""
    await tab.page.goto(react_origin)
    return App(tab)
