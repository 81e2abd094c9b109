"""How Prometheus reads several gateways on one machine: the settings that OPERATIONS.md shows."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import StartGateway
from tests.harness.nginx import Nginx
from tests.operations.test_document import TEXT
from tests.support import free_port, require


def block(language: str) -> str:
    """The one block of the document in this *language*."""
    [text] = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    return str(text)


def test_prometheus_settings(tmp_path: Path) -> None:
    """`promtool check config` takes them, and they name two gateways at nginx's paths."""
    file = tmp_path / "prometheus.yml"
    file.write_text(block("yaml"))
    command = [require("promtool"), "check", "config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"__metrics_path__: (\S+),", block("yaml")) == ["/1/metrics", "/2/metrics"]


@pytest.fixture
def nginx(tmp_path: Path) -> Nginx:
    """An nginx with the block of the document as its site, and the sockets below *tmp_path*."""
    proxy = Nginx(tmp_path, "http://127.0.0.1:8080")
    port = free_port()
    proxy.url = f"http://127.0.0.1:{port}"
    proxy.site = block("nginx")
    proxy.replace("127.0.0.1:8081", f"127.0.0.1:{port}")
    proxy.replace("/run/sse-gateway", str(tmp_path))
    return proxy


async def test_sockets(start_gateway: StartGateway, nginx: Nginx) -> None:
    """Each gateway's metrics, readiness and streams are at its number, a query goes along, and
    nothing else is there."""
    gateways = []
    for number in ("1", "2"):
        path = nginx.prefix / number / "admin.sock"
        path.parent.mkdir()
        gateway = await start_gateway(ownership="token", admin_unix_socket=path, admin_port=0)
        gateways.append(gateway)
    await gateways[1].open("run-1")
    await gateways[1].open("run-2")
    session = gateways[0].session
    nginx.start()
    try:
        for number, count in (("1", 0), ("2", 2)):
            async with session.get(f"{nginx.url}/{number}/metrics") as response:
                assert f"\nsse_gateway_streams_open {count}.0\n" in await response.text()
            async with session.get(f"{nginx.url}/{number}/ready") as response:
                assert response.status == 200
            async with session.get(f"{nginx.url}/{number}/streams?execution=run-2") as response:
                assert (await response.json())["matching"] == min(count, 1)
        for other in ("3/metrics", "metrics", "1/anything", "1/../2/streams/"):
            async with session.get(f"{nginx.url}/{other}") as response:
                assert response.status in (404, 502), other
    finally:
        nginx.stop()
