"""Publishes what standard input asks for, with whatever `gateway` is on PYTHONPATH: a JSON array on
each line, answered by one line."""

import asyncio
import json
import sys
from typing import Any

from gateway.publisher import Publisher, PublishFailed


async def _publish(publisher: Publisher, line: str) -> dict[str, Any]:
    execution_id, event_type, data, timestamp, key = json.loads(line)
    try:
        given = await publisher.publish(
            execution_id, event_type, data, timestamp=timestamp, idempotency_key=key
        )
    except PublishFailed as failure:
        return {"message": str(failure), "key": failure.idempotency_key}
    return {"id": given}


async def main() -> None:
    async with Publisher(sys.argv[1], deadline=2.0) as publisher:
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await _publish(publisher, line)), flush=True)


asyncio.run(main())
