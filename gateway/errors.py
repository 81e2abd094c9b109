"""Every error the gateway raises on purpose, as one tree.

    GatewayError
    ├── ConfigurationError      a start that cannot go on; lists every mistake (exit status 78)
    ├── CannotListen            the address is taken or may not be used
    ├── MessageRefused          a Redis message that is not an event; counted, logged and dropped
    ├── RedisUnavailable        Redis could not be asked before a deadline
    ├── BackendUnavailable      the customer's backend gave no answer (ownership `backend`)
    └── RequestRefused          an HTTP request that gets no stream; knows its status and code
        ├── MalformedRequest    400
        ├── Unauthenticated     401
        ├── Forbidden           403
        ├── ExecutionNotFound   404
        ├── RequestTimedOut     408
        ├── BodyTooLarge        413
        ├── RunTooLarge         413
        ├── LimitReached        429, passing
        └── Unavailable         503, passing

Each says in one sentence what happened and what to do. It does not know how an error is put on
the wire: that is `gateway.http.responses`.
"""

from collections.abc import Sequence


class GatewayError(Exception):
    """Base of all errors of the gateway; `str(error)` is a sentence for the person who meets it."""


class ConfigurationError(GatewayError):
    """The settings do not allow a start.

    `mistakes` holds one sentence each, and each names its setting. The process ends with exit
    status 78 (EX_CONFIG of sysexits.h), which the systemd unit does not restart on.
    """

    EXIT_STATUS = 78

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(self.mistakes))


class CannotListen(GatewayError):
    """The gateway cannot listen where it was told to; `str(error)` names the address."""


class MessageRefused(GatewayError):
    """A message on an execution's channel is not an event; `str(error)` says why."""


class RedisUnavailable(GatewayError):
    """Redis could not be asked before the deadline; `str(error)` says what was tried."""


class BackendUnavailable(GatewayError):
    """The backend did not say whose execution it is; `str(error)` says what happened."""


class RequestRefused(GatewayError):
    """A request that gets no stream (CONTRACT.md).

    `status` is the HTTP status, `code` the snake_case word clients branch on. `passing` tells
    trouble that goes away by itself: an EventSource gets it inside a 200, since any other status
    ends it for good.
    """

    status = 500
    code = "internal_error"
    temporary = False

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class MalformedRequest(RequestRefused):
    """The request itself is wrong; repeating it unchanged cannot help."""

    status = 400
    code = "malformed_request"


class Unauthenticated(RequestRefused):
    """No token, or one that is not valid (any more)."""

    status = 401
    code = "invalid_token"


class Forbidden(RequestRefused):
    """A valid token that does not cover the organization asked for."""

    status = 403
    code = "organization_forbidden"


class ExecutionNotFound(RequestRefused):
    """Unknown, or another organization's: one answer for both, so that nobody can probe."""

    status = 404
    code = "execution_not_found"

    def __init__(self) -> None:
        super().__init__(
            "Execution not found for this organization. Whoever starts executions must register"
            ' them; see "Connect your own workers".'
        )


class RequestTimedOut(RequestRefused):
    """A request whose body did not arrive in time."""

    status = 408
    code = "request_timeout"

    def __init__(self) -> None:
        super().__init__("The request's body did not arrive in time: send it anew.")


class BodyTooLarge(RequestRefused):
    """A request with a larger body than any that means something here."""

    status = 413
    code = "body_too_large"

    def __init__(self, most: int) -> None:
        """*most*: bytes that a body may have."""
        super().__init__(f"The body has more than {most} bytes: send none, or a shorter one.")


class RunTooLarge(RequestRefused):
    """A run document that is larger than one answer may be."""

    status = 413
    code = "run_too_large"

    def __init__(self) -> None:
        super().__init__(
            "The run is larger than one answer may be: ask for it in pages, with `limit` and "
            "`after`."
        )


class LimitReached(RequestRefused):
    """More streams, or polls, than a limit allows; a later try may succeed."""

    status = 429
    code = "limit_reached"
    temporary = True


class Unavailable(RequestRefused):
    """The gateway cannot serve now, mostly because Redis cannot be asked."""

    status = 503
    code = "unavailable"
    temporary = True
