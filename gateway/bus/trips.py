"""The round trips to Redis that questions share: whose an execution is, what was revoked, a page.

Commands that are asked at the same time go in one pipeline, without MULTI; on a cluster in one for
each node, so that none waits for a node that is not its own.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, TryAgainError

from gateway.bus import scripts
from gateway.bus.cluster import Cluster
from gateway.bus.exchange import Command, exchange
from gateway.bus.node import Node
from gateway.contract.keys import meta_key
from gateway.contract.scripts import Call
from gateway.dataloader import DataLoader, SingleFlight

_AT_ONCE = 128
"""Most commands in one round trip; a page of history may have 1 MiB."""

_STEPS = 2
"""Of the event loop until the page of an opening is asked for: two tasks begin on the way."""


_Asked = tuple[int, Command]
_Loader = DataLoader[_Asked, Any]


class Trips:
    """Asks Redis for many at once; equal commands share an answer, unless they change something."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._loader: _Loader | _Loaders = (
            _Loaders(redis) if isinstance(redis, Cluster) else _Loader(self._load, _AT_ONCE, _STEPS)
        )
        self._waiting: SingleFlight[_Asked, Any] = SingleFlight()
        self._numbers = count(1)

    def ask(self, command: Command) -> "asyncio.Future[Any]":
        """The answer to *command*, from a trip that has not begun yet; raises as redis-py does."""
        return self._loader.ask((0, command))

    def change(self, command: Command) -> "asyncio.Future[Any]":
        """As `ask`, for a *command* that is run once for each caller."""
        return self._loader.ask((next(self._numbers), command))

    def ask_meta(self, execution_id: str, *fields: str) -> "asyncio.Future[Any]":
        """These *fields* of the execution's `meta`, as `ask`."""
        return self.ask(("HMGET", meta_key(execution_id), *fields))

    async def run(self, call: Call, *, changes: bool = False) -> Any:
        """The answer to a script, as `ask`; *changes*: as `change`."""
        script, keys, arguments = call
        ask = self.change if changes else self.ask
        command = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
        try:
            return await ask(command)
        except NoScriptError:
            return await scripts.run(self._redis, call)
        except TryAgainError:
            # Its keys are at two nodes of a cluster: it waits alone.
            asked = next(self._numbers) if changes else 0, command
            return await self._waiting.ask(asked, partial(scripts.run, self._redis, call))

    async def stop(self) -> None:
        """Cancel what is under way."""
        await self._loader.stop()
        await self._waiting.stop()

    async def _load(self, asked: Sequence[_Asked]) -> dict[_Asked, Any]:
        if len(asked) == 1:
            return {asked[0]: await self._redis.execute_command(*asked[0][1])}
        answers = await exchange(self._redis, [command for _, command in asked])
        return dict(zip(asked, answers, strict=True))


class _Loaders:
    """One for each node of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster.without_waits(follows=True)
        self._loaders = WeakKeyDictionary[Node | _Loaders, _Loader]()
        """By node; what belongs to none has that of this object."""

    def ask(self, asked: _Asked) -> "asyncio.Future[Any]":
        place = self._cluster.place_of(asked[1]) or self
        loader = self._loaders.get(place)
        if loader is None:
            loader = self._loaders[place] = _Loader(self._load, _AT_ONCE, _STEPS)
        return loader.ask(asked)

    async def _load(self, asked: Sequence[_Asked]) -> dict[_Asked, Any]:
        answers = await self._cluster.exchange([command for _, command in asked])
        return dict(zip(asked, answers, strict=True))

    async def stop(self) -> None:
        await asyncio.gather(*(loader.stop() for loader in self._loaders.values()))
