"""A Redis Cluster for the publisher for threads; for asyncio, see `gateway.bus.cluster`.

Each command goes to the node of its key. Redirections (MOVED, ASK) are followed at once, and a
script whose keys do not exist yet (TRYAGAIN) is sent in another form. If a node cannot serve a
command now (TRYAGAIN to that form too, CLUSTERDOWN), or is lost, the publisher retries.
"""

from collections.abc import Container, Sequence
from typing import Any

from redis import Connection, ConnectionPool, Redis, SSLConnection
from redis.exceptions import AskError, ClusterDownError, MovedError, ResponseError, TryAgainError

from gateway.bus.errors import REDIS_ERRORS
from gateway.bus.slots import (
    NO_SLOTS,
    Address,
    Command,
    Slots,
    new_keys,
    read_slots,
    slot_of,
    target_of,
)
from gateway.settings.redis_url import ClusterUrl

_HOPS = 6
"""Nodes that may send a command elsewhere, one after the other."""


class SyncNodes:
    """The nodes of one cluster; any number of threads may use it."""

    def __init__(self, url: ClusterUrl, options: dict[str, Any]) -> None:
        """*options*: of each connection."""
        self._url = url
        self._options = {**options, **url.options}
        self._pools: dict[Address, ConnectionPool] = {}
        self._slots: Slots = NO_SLOTS
        self._lost: Address | None = None
        """Which node has not answered last."""

    def run(self, *commands: Command) -> list[Any]:
        """The answers to *commands*, sent together to the node of the first one's key. Raises as
        redis-py does, where that one is refused too."""
        slot = slot_of(commands[0])
        assert slot is not None  # noqa: S101 - a publisher's scripts have keys
        asked: Address | None = None
        for _ in range(_HOPS):
            address = asked or self._owner(slot)
            try:
                answers = self._ask(address, commands, is_asking=asked is not None)
            except REDIS_ERRORS:
                self._slots, self._lost = NO_SLOTS, address
                raise
            first = answers[0]
            if not isinstance(first, ResponseError):
                return answers
            if isinstance(first, MovedError):
                asked = None
                self._slots = self._look(target_of(first, address))
            elif isinstance(first, AskError):
                asked = target_of(first, address)
            elif isinstance(first, TryAgainError) and (other := new_keys(commands[0])):
                asked, commands = None, (other, *commands[1:])
            else:
                raise first
        raise first

    def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.disconnect()

    def _ask(self, address: Address, commands: Sequence[Command], *, is_asking: bool) -> list[Any]:
        pool = self._pool(address)
        connection: Any = pool.get_connection()
        try:
            asking = [("ASKING",)] if is_asking else []
            connection.send_packed_command(connection.pack_commands([*asking, *commands]))
            answers = []
            for _ in range(len(asking) + len(commands)):
                try:
                    answers.append(connection.read_response())
                except ResponseError as refusal:
                    answers.append(refusal)
            return answers[len(asking) :]
        except BaseException:
            connection.disconnect()
            raise
        finally:
            pool.release(connection)

    def _owner(self, slot: int) -> Address:
        slots = self._slots
        if slots is NO_SLOTS:
            slots = self._slots = self._look()
        owner = slots.owners[slot]
        if owner is None:
            self._slots = NO_SLOTS
            raise ClusterDownError("CLUSTERDOWN Hash slot not served")
        return owner.address

    def _look(self, first: Address | None = None) -> Slots:
        """Who serves what, as the node at *first* says, or another one that answers."""
        failure: Exception = ClusterDownError("CLUSTERDOWN No node serves any slot")
        known = [*([first] if first else []), *list(self._pools), *self._url.nodes]
        for address in sorted(dict.fromkeys(known), key=lambda one: one == self._lost):
            try:
                with Redis(connection_pool=self._pool(address)) as client:
                    slots = read_slots(client.execute_command("CLUSTER", "SLOTS"), address)
            except REDIS_ERRORS as error:
                failure = error
                continue
            if slots.primaries:
                self._forget_all_but({*slots.primaries, *self._url.nodes})
                return slots
        raise failure

    def _forget_all_but(self, known: Container[Address]) -> None:
        """Where nodes are replaced, each new one may have another address."""
        for address in [one for one in list(self._pools) if one not in known]:
            if (pool := self._pools.pop(address, None)) is not None:
                pool.disconnect(inuse_connections=False)

    def _pool(self, address: Address) -> ConnectionPool:
        pool = self._pools.get(address)
        if pool is None:
            host, port = address
            kind = SSLConnection if self._url.tls else Connection
            pool = ConnectionPool(connection_class=kind, host=host, port=port, **self._options)
            # Another thread may have made one meanwhile.
            pool = self._pools.setdefault(address, pool)
        return pool
