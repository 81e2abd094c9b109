"""Connections of a cluster's client to the node where its gateway subscribes."""

from typing import TYPE_CHECKING, Any

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import Connection, SSLConnection

from gateway.bus.errors import REDIS_ERRORS
from gateway.bus.server import PackingConnection

if TYPE_CHECKING:
    from gateway.bus.nodes import Nodes


class _SubscriptionConnection(PackingConnection, Connection):
    """A connection to where the gateway subscribes at the moment of connecting."""

    def __init__(self, *, nodes: "Nodes", **options: Any) -> None:
        super().__init__(**options)
        self._nodes = nodes

    async def connect_check_health(
        self, check_health: bool = True, retry_socket_connect: bool = True
    ) -> None:
        """As in redis-py, which calls it wherever it needs a connection."""
        if self.is_connected:
            return
        await self._nodes.learn_agreed()
        node = self._nodes.chosen()
        self.host, self.port = node.address
        try:
            await super().connect_check_health(check_health, retry_socket_connect)
        except REDIS_ERRORS as error:
            node.lost(error)
            raise
        self._nodes.subscribed_at(node)


class _SubscriptionTlsConnection(_SubscriptionConnection, SSLConnection):
    """The same over TLS."""


class SubscriptionPool(BlockingConnectionPool):
    """Bounded; each connection goes where the gateway subscribes when it connects."""

    def __init__(self, nodes: "Nodes", *, tls: bool, **options: Any) -> None:
        self.server = nodes
        kind = _SubscriptionTlsConnection if tls else _SubscriptionConnection
        super().__init__(connection_class=kind, nodes=nodes, **options)

    async def aclose(self) -> None:
        """Close all connections, those to the nodes too."""
        await super().aclose()
        await self.server.aclose()
