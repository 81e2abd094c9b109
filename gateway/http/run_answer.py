"""Writes a run document to its reader, piece by piece, and for no longer than a poll may take.

A reader that takes nothing for the write timeout is cut as a stream's is (`gateway.fanout.stalls`),
and one that takes a little now and then at the end of the poll's time.
"""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiohttp import web

from gateway.fanout.stalls import StallWatch
from gateway.http.poll_budget import Budget, Holder
from gateway.http.run_documents import Reader
from gateway.log import RateLimitedLog
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

_CHUNK_BYTES = 64 * 1024
"""Bytes that are written at a time, and then waited for."""

BUFFER_BYTES = 3 * _CHUNK_BYTES
"""What a reader that does not read may hold here: a chunk, and what aiohttp and the event loop keep
of it and the one before."""

STALLED = "stalled"
SLOW = "slow"
CUTS = (STALLED, SLOW)
"""Why a poll is cut while it is written."""

_LOGGED_EVERY = 60.0
"""Seconds between two log lines about polls that were cut."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What all answers of one gateway share; *seconds*: how long writing one may take."""

    budget: Budget
    stalls: StallWatch
    seconds: float
    metrics: Metrics
    _sometimes: RateLimitedLog = field(default_factory=lambda: RateLimitedLog(_LOGGED_EVERY))

    async def write(
        self,
        request: web.Request,
        organization_id: str,
        reader: Reader,
        workflow_id: str,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        """Answer *request* with the document of *reader*; HEAD gets the headers alone.

        Raises:
            LimitReached, Unavailable: the organization's readers hold too much already.
            ConnectionResetError: the reader has gone, or was cut.
        """
        document = reader.document
        head = document.head(workflow_id)
        response = web.StreamResponse(headers={"Content-Type": "application/json", **headers})
        response.content_length = len(head) + sum(map(len, document.pieces))
        buffer = await self.budget.take(Holder(organization_id, True), BUFFER_BYTES)
        writer = _Writer(request.transport, self)
        try:
            async with asyncio.timeout(self.seconds):
                await response.prepare(request)
                if request.method == "HEAD":
                    await response.write_eof()
                else:
                    await writer.write(response, _chunks(head, reader))
        except TimeoutError:
            writer.cut(SLOW)
            raise ConnectionResetError from None
        finally:
            self.stalls.even(writer)
            buffer.release()
        return response

    def count(self, why: str) -> None:
        """A reader was cut."""
        self.metrics.polls_cut[why] += 1
        if (held_back := self._sometimes.due()) is not None:
            log.warning(
                "A poll whose reader did not read in time was cut (%s); %d more like it since the "
                "last such line.",
                why,
                held_back,
            )


class _Writer:
    """The connection of one poll; see `stalls.Writer`."""

    def __init__(self, transport: asyncio.Transport | None, answers: Answers) -> None:
        if transport is None:
            raise ConnectionResetError
        self._transport = transport
        self._answers = answers
        self._written = 0

    @property
    def taken(self) -> int:
        """See `stalls.Writer`."""
        return self._written - self._transport.get_write_buffer_size()

    def stalled(self) -> None:
        """See `stalls.Writer`."""
        self.cut(STALLED)

    def cut(self, why: str) -> None:
        """End the connection at once."""
        self._answers.count(why)
        self._transport.abort()

    async def write(self, response: web.StreamResponse, chunks: Iterator[bytes]) -> None:
        """All *chunks*, as the kernel takes them; returns when it has taken the last one."""
        # Paused as soon as one byte is left over: else the last bytes would be nobody's to watch.
        self._transport.set_write_buffer_limits(high=0)
        self._answers.stalls.behind(self)
        last = b""
        for chunk in chunks:
            if last:
                self._written += len(last)
                await response.write(last)
                # A quick reader must not keep the loop from everybody else.
                await asyncio.sleep(0)
            last = chunk
        self._written += len(last)
        await response.write_eof(last)


def _chunks(head: bytes, reader: Reader) -> Iterator[bytes]:
    """The document in chunks of about `_CHUNK_BYTES`; what was written is given back."""
    pieces = reader.document.pieces
    chunk = [head]
    size = len(head)
    for index in range(len(pieces)):
        piece = pieces[index]
        if size + len(piece) > _CHUNK_BYTES:
            yield from _slices(b"".join(chunk))
            chunk, size = [], 0
            reader.advance(index)
        if len(piece) > _CHUNK_BYTES:
            yield from _slices(piece)
        else:
            chunk.append(piece)
            size += len(piece)
    yield from _slices(b"".join(chunk))


def _slices(data: bytes) -> Iterator[bytes]:
    for begin in range(0, len(data), _CHUNK_BYTES):
        yield data[begin : begin + _CHUNK_BYTES]
