"""What a connection to Redis may raise under uvloop, which `serve` runs on."""

import asyncio
from collections.abc import Callable

import uvloop

from gateway.bus.connection import create_redis
from gateway.bus.errors import REDIS_ERRORS
from tests.harness.redis_process import RedisProcess


async def failure(process: RedisProcess) -> BaseException:
    """What a command raises whose Redis was killed with an earlier one unread, so that the kernel
    has reset the connection."""
    client = create_redis(process.url, max_connections=2)
    connection = client.connection_pool.make_connection()
    await connection.connect()
    process.suspend()
    await connection.send_command("TIME")
    process.kill()
    try:
        while True:
            await asyncio.sleep(0.01)
            await connection.send_command("TIME")
    except Exception as error:
        return error
    finally:
        await connection.disconnect()
        await client.aclose()


def test_a_killed_redis_raises_what_tasks_catch(redis_process: Callable[..., RedisProcess]) -> None:
    """A command whose Redis was killed raises what every task takes for Redis being away; anything
    else would end the task for good."""
    assert isinstance(uvloop.run(failure(redis_process())), REDIS_ERRORS)
