"""A probe execution, and the client that opens its stream as a browser does."""

import asyncio
import secrets
from collections.abc import Callable

import aiohttp
import orjson
from multidict import CIMultiDict, CIMultiDictProxy
from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.bus.cluster import Cluster
from gateway.contract import keys
from gateway.contract.registration import Registration
from gateway.contract.scripts import HistoryLimits, publish_call
from gateway.events.json_edit import parse_object
from gateway.settings import Settings
from gateway.tools.check.acl import remove
from gateway.tools.sse_parser import EventStream, Frame

EVENT_TYPE = "check:probe"
_KEPT_MS = 600_000
_MOST_REFUSAL = 4096
"""Bytes of a refusal that are read."""


class Probe:
    """An execution of *organization* that exists for one check. All methods raise as redis-py does.

    Its events go into history and onto the channel in one step, so that no gateway records them
    again and all keys are known. All keys expire within minutes, in case the check is killed.
    """

    def __init__(self, redis: Redis, settings: Settings, organization: str) -> None:
        self.execution_id = f"{keys.PROBE_PREFIX}{secrets.token_hex(8)}"
        self.organization = organization
        self._redis = redis
        self._channels = keys.channels_of(
            settings.publishes_to,
            settings.channel_prefix,
            self.execution_id,
            in_cluster=isinstance(redis, Cluster),
        )
        self._terminal_type = next(iter(settings.endings))
        self._limits = HistoryLimits(open_ttl_ms=_KEPT_MS, history_ttl_ms=_KEPT_MS)
        self._in_cluster = isinstance(redis, Cluster)
        made = (keys.meta_key, keys.events_key, keys.memory_key)
        self._written = [make(self.execution_id) for make in made]

    async def register(self) -> None:
        registration = Registration(self.execution_id, self.organization)
        call = registration.call(self._limits, in_cluster=self._in_cluster)
        await scripts.run(self._redis, call)

    async def publish(self, number: int) -> None:
        await self._publish(EVENT_TYPE, number, "")

    async def finish(self) -> None:
        """Publish the terminal event."""
        await self._publish(self._terminal_type, 0, self._terminal_type)

    async def remove(self) -> None:
        """Remove everything that the probe has written."""
        await remove(self._redis, self._written)

    async def _publish(self, event_type: str, number: int, terminal_type: str) -> None:
        once = secrets.token_hex(8)
        self._written.append(keys.once_key(self.execution_id, once))
        call = publish_call(
            self.execution_id,
            orjson.dumps({"type": event_type, "data": {"number": number}}),
            **self._channels._asdict(),
            idempotency_key=once,
            terminal_type=terminal_type,
            limits=self._limits,
            in_cluster=self._in_cluster,
        )
        await scripts.run(self._redis, call)


class ProbeClient:
    """One stream; `run` reads it to its end. Times are the event loop's, in seconds."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._url = url
        self._headers = {
            **headers,
            "Accept": "text/event-stream",
            # As a browser: a proxy that compresses for browsers must do it here too.
            "Accept-Encoding": "gzip, deflate",
        }
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._news = asyncio.Event()
        self.requested_at = self._now()
        self.status = 0
        """0 until there is an answer."""
        self.version = ""
        self.headers: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
        self.refusal = ""
        """The body of an answer that is no stream."""
        self.connected_at: float | None = None
        self.events: dict[int, float] = {}
        """When each event of the probe arrived, by its number; 0 is the terminal one."""
        self.heartbeats = 0
        self.closing: str | None = None
        """The reason of a `stream:closing`."""
        self.ended_at: float | None = None
        self.problem: str | None = None
        """Why there was no answer, or no clean end."""

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Open the stream and read it to its end."""
        self.requested_at = self._now()
        try:
            async with session.get(
                self._url, headers=self._headers, allow_redirects=False
            ) as answer:
                self.status, self.headers = answer.status, answer.headers
                if answer.version is not None:
                    self.version = f"{answer.version.major}.{answer.version.minor}"
                await self._read(answer)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.problem = str(error) or type(error).__name__
        finally:
            self.ended_at = self._now()
            self._news.set()

    async def wait(self, condition: Callable[[], object], seconds: float) -> bool:
        """Whether *condition* became true within *seconds*, before the end of the stream."""
        deadline = self._now() + seconds
        while not condition() and self.ended_at is None:
            self._news.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._news.wait()
            except TimeoutError:
                break
        return bool(condition())

    @property
    def is_stream(self) -> bool:
        """Whether the answer is an event stream."""
        content_type = self.headers.get("Content-Type", "").partition(";")[0].strip()
        return self.status == 200 and content_type == "text/event-stream"

    async def _read(self, answer: aiohttp.ClientResponse) -> None:
        if not self.is_stream:
            self.refusal = (await answer.content.read(_MOST_REFUSAL)).decode(errors="replace")
            return
        stream = EventStream()
        async for chunk in answer.content.iter_any():
            for frame in stream.feed(chunk):
                self._take(frame)
            self._news.set()

    def _take(self, frame: Frame) -> None:
        match frame.event:
            case "connected":
                self.connected_at = self._now()
            case "heartbeat":
                self.heartbeats += 1
            case "stream:closing":
                self.closing = str(parse_object(frame.data).get("reason"))
            case event if event and frame.id is not None:
                number = _number_in(frame.data) if event == EVENT_TYPE else 0
                if number is not None:
                    self.events[number] = self._now()


def _number_in(document: bytes) -> int | None:
    """The number of a probe's event; None if there is none."""
    data = parse_object(document).get("data")
    number = data.get("number") if isinstance(data, dict) else None
    return number if isinstance(number, int) else None
