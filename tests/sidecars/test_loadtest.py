"""A load test through nginx and TLS: what operators have in front of the gateway."""

import shutil
import subprocess
from pathlib import Path

from redis.asyncio import Redis

from gateway.loadtest.plan import Plan, Target
from gateway.loadtest.run import LoadTest
from tests.conftest import StartGateway, credentials
from tests.sidecars.proxy import Nginx
from tests.support import missing


async def test_through_nginx_and_tls(
    start_gateway: StartGateway, redis_url: str, redis: Redis, tmp_path: Path
) -> None:
    """All tabs get all their events through nginx and TLS, also after they were all dropped at
    once."""
    if (openssl := shutil.which("openssl")) is None:
        missing("no openssl")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "certificate.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    gateway = await start_gateway(ownership="registry")
    nginx = Nginx(tmp_path, gateway.url)
    port = nginx.url.rpartition(":")[2]
    nginx.replace(
        f"listen 127.0.0.1:{port};",
        f"listen 127.0.0.1:{port} ssl; ssl_certificate {tmp_path}/certificate.pem; "
        f"ssl_certificate_key {tmp_path}/key.pem;",
    )
    nginx.start()
    try:
        target = Target(
            url=f"https://localhost:{port}",
            publish_url=redis_url,
            organization="acme",
            token=credentials()["Authorization"].removeprefix("Bearer "),
            insecure=True,
        )
        plan = Plan(tabs=30, executions=3, events=20, rate=60, storm=True)
        found = await LoadTest(target, plan).run()
    finally:
        nginx.stop()
    assert found.ok, found
    assert (found.received, found.reconnects) == (600, 30)
