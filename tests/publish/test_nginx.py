"""Publishing through the sample site of nginx."""

import io
from pathlib import Path

from tests.conftest import RunningGateway
from tests.harness.nginx import Nginx
from tests.publish.conftest import Producer


async def test_a_large_call(gateway: RunningGateway, tmp_path: Path) -> None:
    """Nearly a megabyte passes, and more is refused; other paths still take a kilobyte alone, and a
    stream of several executions is none of an execution named `stream`."""
    nginx = Nginx(tmp_path, gateway.url)
    nginx.start()
    gateway.url = nginx.url
    try:
        producer = Producer(gateway)
        assert (await producer.call("PUT", "run-1", {"workflow_id": "w"}))[0] == 201
        assert (await producer.publish({"type": "a", "data": {"x": "y" * 900_000}}))[0] == 201
        for path, size in (("run-1/events", 2**20 + 1), ("run-1/ticket", 1025)):
            url = f"{nginx.url}/api/v1/sse/executions/{path}"
            async with gateway.session.post(url, data=io.BytesIO(b"x" * size)) as answer:
                assert answer.status == 413
        stream = f"{nginx.url}/api/v1/sse/executions/stream?execution_id=run-1"
        async with gateway.session.get(stream, headers=producer.headers) as answer:
            assert b"connected" in await answer.content.readuntil(b"\n\n")
    finally:
        nginx.stop()
