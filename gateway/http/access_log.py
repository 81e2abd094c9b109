"""What is logged about requests: never the query, which may hold a token.

aiohttp's own access log prints the whole request line, and its server log prints the malformed
line of a request that it could not parse. Both are replaced here.
"""

import logging

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http import HttpProcessingError

from gateway.http.handover import HandedOver

access_log = logging.getLogger("gateway.access_log")
server_log = logging.getLogger("gateway.server")


class AccessLogger(AbstractAccessLogger):
    """One line a request: peer, method, path without query, status, bytes, seconds."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Called by aiohttp at the end of each response; *time* is in seconds."""
        if isinstance(response, HandedOver):
            return
        self.logger.info(
            '%s "%s %s" %d %d %.3f',
            request.remote or "-",
            request.method,
            request.path,
            response.status,
            response.body_length,
            time,
        )

    @property
    def enabled(self) -> bool:
        return self.logger.isEnabledFor(logging.INFO)


def log_stream(request_line: str, written: int, seconds: float) -> None:
    """The line of a stream that has ended, in the same form; *written* in bytes."""
    access_log.info("%s 200 %d %.3f", request_line, written, seconds)


class _WithoutRequestLine(logging.Filter):
    """Keeps a malformed request's own bytes out of the log; strangers choose those."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.levelno, record.levelname = logging.INFO, "INFO"
            record.msg = f"{record.msg} ({type(error).__name__})"
            record.exc_info = record.exc_text = None
        return True


server_log.addFilter(_WithoutRequestLine())
