"""A program: one who only watches, while strangers attack the same gateway.

It publishes an event every 50 ms into a bystander's execution and reads that execution's stream,
and polls a small execution of a third organization. It is a process of its own, so that what the
attack costs the test is not taken for a wait. Time for which the gateway, Redis or itself were
ready to run but got no core is not counted either (`/proc/PID/schedstat`): others may be busy on
this machine.

For each line of its input it prints one JSON object with what was seen since the last one, once
all that it has published has arrived. A line that says `keep` is no new beginning.
"""

import asyncio
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from redis.asyncio import Redis

from gateway.contract.keys import channel
from tests.harness.sse import Seen, SseReader
from tests.support import eventually, producer_message

EVERY = 0.05
POLL_EVERY = 0.2
ARRIVES_WITHIN = 20.0
"""Seconds after which an event counts as lost."""


@dataclass
class Stopwatch:
    """Seconds that pass while the processes that matter do get a core."""

    pids: list[int]

    def __call__(self) -> float:
        waited = sum(
            int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) for pid in self.pids
        )
        return time.monotonic() - waited / 1e9


@dataclass
class Bystander:
    """What it has seen since the last report."""

    now: Stopwatch
    sent: dict[int, float] = field(default_factory=dict)
    """When each event that has not arrived was published, by its number."""
    published: int = 0
    arrived: int = 0
    event_wait: float = 0.0
    poll_wait: float = 0.0
    broken: list[str] = field(default_factory=list)

    async def publish(self, redis: Redis, execution_id: str) -> None:
        due = time.monotonic()
        while True:
            self.published += 1
            self.sent[self.published] = self.now()
            message = producer_message("step:started", number=self.published)
            await redis.publish(channel("execution:", execution_id), message)
            due = max(due + EVERY, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    async def read(self, reader: SseReader) -> None:
        try:
            while (seen := await reader.next(ARRIVES_WITHIN)) is not None:
                self._take(seen)
            self.broken.append("the bystander's stream has ended")
        except (aiohttp.ClientError, TimeoutError) as error:
            self.broken.append(f"the bystander's stream has broken: {error!r}")

    def _take(self, seen: Seen) -> None:
        if seen.event != "step:started":
            if seen.event != "heartbeat":
                self.broken.append(f"the bystander's stream shows {seen.event}: {seen.data}")
            return
        number = seen.json()["data"]["number"]
        if number != self.arrived + 1:
            self.broken.append(f"event {number} comes after {self.arrived}")
        self.arrived = number
        self.event_wait = max(self.event_wait, self.now() - self.sent.pop(number, self.now()))

    async def poll(self, session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> None:
        while True:
            began = self.now()
            try:
                async with session.get(url, headers=headers) as response:
                    said = await response.text()
                    # Nobody answers in time without a core; `poll_wait` does not count that.
                    if response.status != 200 and "does not answer in time" not in said:
                        self.broken.append(f"the bystander's poll is refused: {said}")
            except (aiohttp.ClientError, TimeoutError) as error:
                self.broken.append(f"the bystander's poll is not answered: {error!r}")
            self.poll_wait = max(self.poll_wait, self.now() - began)
            await asyncio.sleep(POLL_EVERY)

    async def report(self, *, keep: bool) -> bytes:
        # One that is still to be published comes after all that others have published before.
        last = self.published + 1
        with suppress(AssertionError):
            await eventually(lambda: self.arrived >= last, ARRIVES_WITHIN)
        if self.arrived < last:
            self.broken.append(f"events {self.arrived + 1} to {last} have not arrived")
        # What has not ended yet has waited too.
        self.event_wait = max(self.event_wait, *(self.now() - one for one in self.sent.values()), 0)
        told = orjson.dumps(
            {"event_wait": self.event_wait, "poll_wait": self.poll_wait, "broken": self.broken[:5]}
        )
        if not keep:
            self.event_wait, self.poll_wait, self.broken = 0.0, 0.0, []
        return told


class BystanderProcess:
    """The program, as those who start it see it."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, given: dict[str, str], pids: list[int]) -> None:
        """*given*: addresses and tokens; *pids*: whose waiting for a core is not counted."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.prices.bystander"),
            *(orjson.dumps(given).decode(), orjson.dumps(pids).decode()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )

    async def seen(self, *, keep: bool = False) -> dict[str, Any]:
        """What it has seen since it was asked last, once all that it has published has arrived.
        *keep*: it will tell that again."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"keep\n" if keep else b"\n")
        async with asyncio.timeout(2 * ARRIVES_WITHIN):
            line = await self._process.stdout.readline()
        assert line, "the bystander has ended"
        told: dict[str, Any] = orjson.loads(line)
        return told

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def main(given: dict[str, str], pids: list[int]) -> None:
    bystander = Bystander(Stopwatch([*pids, os.getpid()]))
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    streams = {"Authorization": given["stream_token"], "X-Organization-ID": given["organization"]}
    polls = {"Authorization": given["poll_token"], "X-Organization-ID": given["third"]}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ARRIVES_WITHIN)) as session,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as patient,
        Redis.from_url(given["redis"]) as redis,
        asyncio.TaskGroup() as tasks,
    ):
        reader = SseReader(await patient.get(given["stream"], headers=streams))
        await reader.expect("connected")
        work = [
            tasks.create_task(bystander.publish(redis, given["execution"])),
            tasks.create_task(bystander.read(reader)),
            tasks.create_task(bystander.poll(session, given["poll"], polls)),
        ]
        while command := await commands.readline():
            told = await bystander.report(keep=command == b"keep\n")
            print(told.decode(), flush=True)
        for task in work:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(main(orjson.loads(sys.argv[1]), orjson.loads(sys.argv[2])))
