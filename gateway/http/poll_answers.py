"""Writes the answers of polls, with the write timeout of streams."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from gateway.fanout.stalls import StallWatch
from gateway.log import RateLimitedLog
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

Chunk = bytes | bytearray

_WRITE_BYTES = 64 * 1024
"""Bytes that are written at a time, and then waited for."""

BUFFER_BYTES = 3 * _WRITE_BYTES
"""What one reader may take beside its document: what is written, and what aiohttp and the event
loop keep of it and of the write before."""

STALLED = "stalled"
SLOW = "slow"
CUT_REASONS = (STALLED, SLOW)
"""Why a poll is cut while it is written."""


@dataclass(frozen=True, slots=True)
class PollAnswers:
    """Writes answers; *seconds*: how long writing one may take."""

    stalls: StallWatch
    metrics: Metrics
    seconds: float
    _cut_log: RateLimitedLog = field(default_factory=lambda: RateLimitedLog(60.0))

    async def write(
        self, request: web.Request, response: web.StreamResponse, chunks: Sequence[Chunk]
    ) -> None:
        """Write all *chunks*; returns when the kernel has taken them.

        Raises:
            ConnectionResetError: the reader has gone, or was cut.
        """
        if request.transport is None:
            raise ConnectionResetError
        writer = _Writer(request.transport, self._count_cut)
        try:
            async with asyncio.timeout(self.seconds):
                await response.prepare(request)
                if request.method != "HEAD":
                    self.stalls.blocked(writer)
                    await writer.write(response, chunks)
        except TimeoutError:
            writer.cut(SLOW)
            raise ConnectionResetError from None
        finally:
            self.stalls.unblocked(writer)

    def _count_cut(self, reason: str) -> None:
        self.metrics.polls_cut[reason] += 1
        message = "A poll was cut because its client did not read the answer in time (%s)."
        self._cut_log.warning(log, message, reason)


class _Writer:
    """Writes one answer; the stall watch cuts it as it cuts a stream."""

    def __init__(self, transport: asyncio.Transport, count_cut: Callable[[str], None]) -> None:
        self._transport = transport
        self._count_cut = count_cut
        self._written = 0
        # Paused as soon as one byte is left over: else nobody would watch over the last bytes.
        transport.set_write_buffer_limits(high=0)

    @property
    def taken(self) -> int:
        """See `stalls.Writer`."""
        return self._written - self._transport.get_write_buffer_size()

    def stalled(self) -> None:
        """See `stalls.Writer`."""
        self.cut(STALLED)

    def cut(self, reason: str) -> None:
        """End the connection at once."""
        self._count_cut(reason)
        self._transport.abort()

    async def write(self, response: web.StreamResponse, chunks: Sequence[Chunk]) -> None:
        """All *chunks*, `_WRITE_BYTES` at a time."""
        if sum(map(len, chunks)) <= _WRITE_BYTES:
            chunks = [b"".join(chunks)]
        *parts, last = [
            memoryview(chunk)[start : start + _WRITE_BYTES]
            for chunk in chunks
            for start in range(0, len(chunk), _WRITE_BYTES)
        ]
        for part in parts:
            self._written += len(part)
            await response.write(part)
            # A quick reader must not keep the event loop from all others.
            await asyncio.sleep(0)
        self._written += len(last)
        await response.write_eof(bytes(last))
