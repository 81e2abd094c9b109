"""Calls the Lua scripts of `gateway.contract`, alone or many in one round trip.

redis-py's own `Script` costs a round trip more in each pipeline, to ask whether Redis knows the
script; and a promoted replica may not know what its master knew. Neither matters here.
"""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from gateway.contract.scripts import Call


async def run(redis: Redis, call: Call) -> Any:
    """Run one script and return its answer; raises as redis-py does."""
    script, keys, arguments = call
    try:
        return await redis.evalsha(script.sha, len(keys), *keys, *arguments)
    except NoScriptError:
        return await redis.eval(script.text, len(keys), *keys, *arguments)


async def run_all(redis: Redis, calls: Sequence[Call]) -> list[Any]:
    """Run calls of one script in one round trip; a refused call's answer is its exception. Of a
    cluster, so is that of a call whose node is lost, where others have answered."""
    if len(calls) == 1:
        try:
            return [await run(redis, calls[0])]
        except ResponseError as refusal:
            return [refusal]
    async with redis.pipeline(transaction=False) as pipeline:
        for index, (script, keys, arguments) in enumerate(calls):
            # The first call loads the script for the others.
            if index == 0:
                pipeline.eval(script.text, len(keys), *keys, *arguments)
            else:
                pipeline.evalsha(script.sha, len(keys), *keys, *arguments)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
    # Of a cluster, each node has to know it. Those calls have done nothing yet.
    unknown = [index for index, one in enumerate(answers) if isinstance(one, NoScriptError)]
    if unknown:
        await _load_and_run(redis, calls, answers, unknown)
    return answers


async def _load_and_run(
    redis: Redis, calls: Sequence[Call], answers: list[Any], unknown: Sequence[int]
) -> None:
    async with redis.pipeline(transaction=False) as pipeline:
        for index in unknown:
            script, keys, arguments = calls[index]
            pipeline.eval(script.text, len(keys), *keys, *arguments)
        for index, answer in zip(
            unknown, await pipeline.execute(raise_on_error=False), strict=True
        ):
            answers[index] = answer
