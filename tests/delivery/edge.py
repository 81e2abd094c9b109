"""The outer edge of one gateway, in this process: messages in by a real Redis, bytes out of
transports.

Everything between is the gateway's own.
"""

import re
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from redis.asyncio import Redis

from gateway import components
from gateway.admin.routes import streams_handler
from gateway.app import COMPONENTS, create_application, create_runner
from gateway.bus.history import History, Page
from gateway.contract.keys import LIST_MARK
from gateway.events.ids import EventId
from gateway.principal import Principal
from gateway.settings import load
from tests.conftest import credentials
from tests.harness.sse import Seen, SseParser
from tests.support import SECRET, eventually
from tests.wire import ENDLESS, Wire

_MARK = "mark"
"""A list of nobody: its channel is heard in each kind of subscription, and brings no event."""


class Tab:
    """A reader: what it asked for, and what its connection has brought."""

    def __init__(self, name: str, wire: Wire, cursor: str | None) -> None:
        self.name = name
        """The subject of its token, by which the operators' list knows it."""
        self.wire = wire
        self.cursor = cursor
        self.left = False
        self._read = 0
        self._parser = SseParser()
        self._seen: list[Seen] = []

    @property
    def status(self) -> int:
        """Of the response; 0 before it."""
        found = re.match(rb"HTTP/1\.[01] (\d+)", bytes(self.wire.received[:20]))
        return int(found[1]) if found else 0

    @property
    def ended(self) -> bool:
        """The server has ended the response and its connection, as it should."""
        return self.wire.ended and self._body()[1]

    @property
    def seen(self) -> list[Seen]:
        """All frames so far."""
        body, _ = self._body()
        new = body[self._read :]
        # Only whole frames: a reader that was cut off has a piece of the last one.
        new = new[: new.rfind(b"\n\n") + 2] if b"\n\n" in new else b""
        self._read += len(new)
        self._seen += self._parser.feed(new)
        return self._seen

    def _body(self) -> tuple[bytes, bool]:
        """The body without its framing, and whether it is complete."""
        head, _, rest = bytes(self.wire.received).partition(b"\r\n\r\n")
        if b"chunked" not in head:
            assert b"\r" not in rest, "a chunk for HTTP/1.0"
            return rest, self.wire.ended
        body = b""
        while b"\r\n" in rest:
            size, _, after = rest.partition(b"\r\n")
            length = int(size, 16)
            if length == 0:
                # Who does not read on may have the beginning of it.
                assert b"\r\n".startswith(after), "something follows the last chunk"
                return body, after == b"\r\n"
            body += after[:length]
            if len(after) < length + 2:
                break
            assert after[length : length + 2] == b"\r\n", "a chunk does not end where it says"
            rest = after[length + 2 :]
        return body, False

    @property
    def written(self) -> int:
        """Bytes of the body with its framing, but for that of the first chunk: it is aiohttp's."""
        head, _, rest = bytes(self.wire.received).partition(b"\r\n\r\n")
        framing = rest.index(b"\r\n") + 4 if b"chunked" in head else 0
        return len(rest) - framing

    @property
    def events(self) -> int:
        """Events of the execution so far, with and without ids."""
        return len([one for one in self.seen if not is_own(one)])

    @property
    def since_reset(self) -> list[Seen]:
        """What has come since the last `stream:reset`."""
        resets = [number for number, one in enumerate(self.seen) if one.event == "stream:reset"]
        return self._seen[resets[-1] + 1 :] if resets else self._seen

    @property
    def view(self) -> list[str]:
        """The ids since the last `stream:reset`."""
        return [one.id for one in self.since_reset if one.id is not None and not is_own(one)]

    def told(self, event: str) -> bool:
        return any(one.event == event for one in self.seen)

    @property
    def closing(self) -> str | None:
        """Why the gateway has closed it before the end, if it has."""
        last = self.seen[-1] if self.seen else None
        return last.json()["reason"] if last and last.event == "stream:closing" else None


def is_own(seen: Seen) -> bool:
    """Whether it is a frame of the gateway itself."""
    return seen.event in ("connected", "heartbeat") or seen.event.startswith("stream:")


class Interrupted(History):
    """The real history; what `meanwhile` does happens after Redis has answered a read, and before
    the reader has the answer."""

    meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None

    async def page(
        self,
        execution_id: str,
        cursor: EventId | None,
        *,
        only_valid: bool = False,
        organization_id: str = "",
        run: str = "",
    ) -> Page:
        page = await super().page(
            execution_id,
            cursor,
            only_valid=only_valid,
            organization_id=organization_id,
            run=run,
        )
        if (meanwhile := self.meanwhile) is not None:
            self.meanwhile = None
            await meanwhile()
        return page


class Edge:
    """A gateway that runs in this process and listens nowhere."""

    def __init__(self, redis_url: str, *, gateway_url: str = "", **overrides: Any) -> None:
        """*gateway_url*: of Redis as the gateway reaches it, if that is another way."""
        settings = {"ownership": "token", "jwt_secret": SECRET, "admin_port": "off", **overrides}
        loaded = load(None, redis_url=gateway_url or redis_url, **settings)
        self.application = create_application(loaded)
        self.components = self.application[COMPONENTS]
        self.redis = Redis.from_url(redis_url)
        self._runner = create_runner(self.application, loaded)
        self._asked = 0
        self._marks = 0
        """Marks that have come, see `processed`."""
        self.admitted: Counter[str] = Counter()
        """How often each tab was admitted again, by its name."""
        self._admit, self.components.hub.admit = self.components.hub.admit, self._count_admission

    async def _count_admission(self, principal: Principal, /, *, again: bool) -> None:
        await self._admit(principal, again=again)
        self.admitted[principal.identity.subject] += 1

    async def start(self) -> None:
        self.components.feed.on_list_changed = self._list_changed
        if (watched := self.components.intake.watched) is not None:
            watched.watch_list(_MARK)
        await self._runner.setup()
        await self.components.subscription.confirmed()

    def _list_changed(self, digest: str) -> None:
        self._marks += digest == _MARK

    async def stop(self) -> None:
        await self._runner.cleanup()
        await self.redis.aclose()

    async def ask(
        self, execution_id: str, cursor: str | None, version: str = "1.1", room: int = ENDLESS
    ) -> Tab:
        """Ask for a stream; its reader takes *room* bytes and then stops reading. Returns when
        the request was answered."""
        path = f"/api/v1/sse/executions/{execution_id}/stream"
        return await self.ask_for(path, cursor, version, room)

    async def ask_for(self, path: str, cursor: str | None, version: str, room: int) -> Tab:
        """The same for any stream."""
        server = self._runner.server
        assert server is not None
        wire = Wire()
        wire.room = room
        wire.protocol = server()
        wire.protocol.connection_made(wire)
        self._asked += 1
        name = f"tab-{self._asked}"
        headers = {"Host": "edge", **credentials(subject=name)}
        if cursor is not None:
            headers["Last-Event-ID"] = cursor
        lines = [f"{name}: {value}" for name, value in headers.items()]
        wire.protocol.data_received(
            "\r\n".join([f"GET {path} HTTP/{version}", *lines, "", ""]).encode()
        )
        tab = Tab(name, wire, cursor)
        await eventually(lambda: tab.status or wire.room == 0)
        return tab

    async def streams(self) -> dict[str, Any]:
        """What operators see of each open stream, by the name of its tab."""
        components = self.components
        handle = streams_handler(components.hub, components.intake.drops)
        answer = await handle(make_mocked_request("GET", "/streams"))
        assert isinstance(answer, web.Response)
        assert isinstance(answer.body, bytes)
        return {one["subject"]: one for one in orjson.loads(answer.body)["streams"]}

    async def processed(self) -> None:
        """Wait until all that was published has been delivered: a mark comes after it."""
        await self.components.subscription.confirmed()
        before = self._marks
        await eventually(lambda: self._mark(before))

    async def _mark(self, before: int) -> bool:
        await self.redis.publish(f"execution:{LIST_MARK}{_MARK}", b"")
        # Until it is back, or the subscription was lost again.
        with suppress(AssertionError):
            await eventually(lambda: self._marks > before, 0.5)
        return self._marks > before


def interrupt_histories(monkeypatch: Any) -> None:
    """Gateways that are made from now on have histories whose reads can be interrupted."""
    monkeypatch.setattr(components, "History", Interrupted)
