"""Many commands in one write, on one connection.

redis-py's pipeline does the same, with a timer and several look-ups for each answer.
"""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

Command = tuple[str | bytes | int, ...]


async def exchange(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """The answers to *commands*, as Redis gives them; that to a refused one is its error. Raises as
    redis-py does."""
    pool = redis.connection_pool
    connection = await pool.get_connection()
    try:
        answers: list[Any] = await connection.retry.call_with_retry(
            lambda: ask(connection, commands), lambda _: connection.disconnect(nowait=True)
        )
        return answers
    finally:
        await pool.release(connection)


async def ask(connection: AbstractConnection, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """The same on this *connection*, once."""
    await connection.send_packed_command(connection.pack_commands(commands))
    loop, answers = asyncio.get_running_loop(), []
    async with asyncio.timeout(None) as deadline:
        for _ in commands:
            # As redis-py has it, for each answer; but one timer that is moved.
            if (seconds := connection.socket_timeout) is not None:
                deadline.reschedule(loop.time() + seconds)
            try:
                answers.append(await connection.read_response(timeout=math.inf))
            except ResponseError as refusal:
                answers.append(refusal)
    return answers
