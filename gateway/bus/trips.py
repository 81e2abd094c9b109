"""The round trips to Redis that questions share: whose an execution is, what was revoked, a page.

Commands that are asked at the same time go in one pipeline, without MULTI: their keys may be in
different slots of a cluster.
"""

import asyncio
from collections.abc import Sequence
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
    """Asks Redis for many at once; equal commands share an answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._loader: DataLoader[Command, Any] = DataLoader(self._load, _AT_ONCE, _STEPS)

    def begin(self, command: Command) -> "asyncio.Future[Any]":
        """*command* goes with the next trip; who awaits the answer shields it, since others may
        wait for it too."""
        return self._loader.begin(command)

    async def ask(self, command: Command) -> Any:
        """The answer to *command*, from a trip that has not begun yet; raises as redis-py does."""
        return await self._loader.ask(command)

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

    async def _load(self, commands: Sequence[Command]) -> dict[Command, Any]:
        if len(commands) == 1:
            return {commands[0]: await self._redis.execute_command(*commands[0])}
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            answers = await pipeline.execute(raise_on_error=False)
        return dict(zip(commands, answers, strict=True))
