"""The round trips to Redis that questions share: whose an execution is, what was revoked, a page.

Commands that are asked at the same time go in one pipeline, without MULTI: their keys may be in
different slots of a cluster.
"""

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from gateway.bus import scripts
from gateway.contract.keys import meta_key
from gateway.contract.scripts import Call
from gateway.dataloader import DataLoader

Command = tuple[str | bytes | int, ...]

_AT_ONCE = 128
"""Most commands in one round trip; a page of history may have 1 MiB."""

_STEPS = 2
"""Of the event loop until the page of an opening is asked for: two tasks begin on the way."""


class Trips:
    """Asks Redis for many at once; equal commands share an answer, unless they change something."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._loader: DataLoader[tuple[int, Command], Any] = DataLoader(
            self._load, _AT_ONCE, _STEPS
        )
        self._numbers = count(1)

    def begin(self, command: Command) -> "asyncio.Future[Any]":
        """*command* goes with the next trip; who awaits the answer shields it, since others may
        wait for it too."""
        return self._loader.begin((0, command))

    async def ask(self, command: Command) -> Any:
        """The answer to *command*, from a trip that has not begun yet; raises as redis-py does."""
        return await self._loader.ask((0, command))

    async def change(self, command: Command) -> Any:
        """As `ask`, for a *command* that is run once for each caller."""
        return await self._loader.ask((next(self._numbers), command))

    async def ask_meta(self, execution_id: str, *fields: str) -> Any:
        """These *fields* of the execution's `meta`; raises as redis-py does."""
        return await self.ask(("HMGET", meta_key(execution_id), *fields))

    async def run(self, call: Call) -> Any:
        """The answer to a script, as `ask`."""
        script, keys, arguments = call
        try:
            return await self.ask(("EVALSHA", script.sha, len(keys), *keys, *arguments))
        except NoScriptError:
            return await scripts.run(self._redis, call)

    async def stop(self) -> None:
        """Cancel what is under way."""
        await self._loader.stop()

    async def _load(self, asked: Sequence[tuple[int, Command]]) -> dict[tuple[int, Command], Any]:
        if len(asked) == 1:
            return {asked[0]: await self._redis.execute_command(*asked[0][1])}
        async with self._redis.pipeline(transaction=False) as pipeline:
            for _, command in asked:
                pipeline.execute_command(*command)
            answers = await pipeline.execute(raise_on_error=False)
        return dict(zip(asked, answers, strict=True))
