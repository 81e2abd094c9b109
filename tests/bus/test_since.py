"""The beginning of a session on a cluster."""

import pytest

from gateway.bus import since
from gateway.bus.cluster import Cluster
from gateway.bus.connection import create_redis
from gateway.bus.since import begin_session
from tests.harness.redis_process import RedisProcess
from tests.harness.tcp_proxy import TcpProxy


class Recorded(TcpProxy):
    """Keeps what was asked."""

    asked = b""

    async def request_passes(self, chunk: bytes) -> bool:
        self.asked += chunk
        return True


async def test_a_session_waits_once_for_a_node_that_hangs(
    redis_server: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has not told its time is not asked to publish: nobody hears bare messages meanwhile.
    The next session does not ask it at all."""
    monkeypatch.setattr(since, "MARKED_WITHIN", 0.2)
    async with Recorded(redis_server.port) as hung:
        url = f"redis+cluster://127.0.0.1:{redis_server.port}"
        async with (
            create_redis(url, max_connections=2) as cluster,
            create_redis(redis_server.url, max_connections=1) as redis,
        ):
            assert isinstance(cluster, Cluster)
            cluster.nodes.node(("127.0.0.1", hung.port))
            hung.hold()
            connection = await redis.connection_pool.get_connection()
            for _ in range(2):
                await begin_session(cluster, connection, "x:!canary:1")
            await redis.connection_pool.release(connection)
        assert hung.asked.count(b"TIME") == 1
        assert b"PUBLISH" not in hung.asked
