"""Every error the gateway raises on purpose. Each message says what happened and what to do.

GatewayError
├── ConfigurationError      the gateway cannot start; lists every mistake (exit status 78)
├── CannotListen            the address is taken or may not be used
├── MessageRefused          a Redis message that is not an event; counted, logged and dropped
├── RedisUnavailable        Redis could not be asked before a deadline
│   └── ExecutionForgotten  it was deleted, and nothing of it is kept
├── BackendUnavailable      the customer's backend gave no answer (ownership `backend`)
└── RequestRefused          an HTTP request that gets no stream; has its status and code
    ├── MalformedRequest    400
    ├── Unauthenticated     401
    ├── Forbidden           403
    ├── ExecutionNotFound   404
    ├── RunNotFound         404
    ├── RequestTimedOut     408
    ├── BodyTooLarge        413
    ├── RunTooLarge         413
    ├── LimitReached        429, temporary
    └── Unavailable         503, temporary
"""

from collections.abc import Sequence


class GatewayError(Exception):
    """Base of all errors of the gateway; `str(error)` is a sentence for the user."""


class ConfigurationError(GatewayError):
    """The gateway cannot start with these settings.

    `mistakes` has one sentence each, which names its setting. The process ends with exit status 78
    (EX_CONFIG of sysexits.h), after which the systemd unit does not restart.
    """

    EXIT_STATUS = 78

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(self.mistakes))


class CannotListen(GatewayError):
    """The gateway cannot listen; `str(error)` names the address."""


class MessageRefused(GatewayError):
    """A message on an execution's channel is not an event; `str(error)` says why."""


class RedisUnavailable(GatewayError):
    """Redis could not be asked before the deadline; `str(error)` says what is wrong."""


class ExecutionForgotten(RedisUnavailable):
    """The execution was deleted a short time ago (`sse-gateway forget`)."""

    def __init__(self) -> None:
        super().__init__("This execution was deleted.")


class BackendUnavailable(GatewayError):
    """The backend did not say whose execution it is; `str(error)` says what happened."""


class RequestRefused(GatewayError):
    """A request that gets no stream (CONTRACT.md).

    `status` is the HTTP status, `code` the snake_case word clients branch on. `temporary`: a later
    try may succeed. An EventSource gets such a refusal inside a 200: after any other status it does
    not reconnect.
    """

    status = 500
    code = "internal_error"
    temporary = False
    message = ""
    """What the user reads, of an error that always says the same."""

    def __init__(self, message: str | None = None, code: str | None = None) -> None:
        super().__init__(message or self.message)
        if code is not None:
            self.code = code


class MalformedRequest(RequestRefused):
    """The request itself is wrong, and must change."""

    status = 400
    code = "malformed_request"


class Unauthenticated(RequestRefused):
    """No token or ticket, or one that is not valid."""

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
    message = (
        "Execution not found for this organization. Register the execution first, for this "
        'organization: see "Connect your own workers" in the README.'
    )


class RunNotFound(RequestRefused):
    """No run with this epoch is kept of the execution, which the asker may see."""

    status = 404
    code = "run_not_found"
    message = "No run with this epoch is kept (any more): leave `epoch` out to get the present run."


class RegistrationLost(ExecutionNotFound):
    """Of an open stream: Redis has lost the registration that it was admitted by."""


class RequestTimedOut(RequestRefused):
    """A request whose body did not arrive in time."""

    status = 408
    code = "request_timeout"
    message = "The request's body did not arrive in time: send the request again."


class BodyTooLarge(RequestRefused):
    """A request with a larger body than any request here needs."""

    status = 413
    code = "body_too_large"

    def __init__(self, most: int) -> None:
        """*most*: bytes that a body may have."""
        super().__init__(f"The body has more than {most} bytes: send none, or a shorter one.")


class RunTooLarge(RequestRefused):
    """A run document that is larger than one answer may be."""

    status = 413
    code = "run_too_large"
    message = (
        "The run is larger than one answer may be: ask for it in pages, with `limit` and `after`."
    )


class LimitReached(RequestRefused):
    """More streams, polls or tickets than a limit allows."""

    status = 429
    code = "limit_reached"
    temporary = True


class Unavailable(RequestRefused):
    """The gateway cannot serve now, mostly because Redis is away."""

    status = 503
    code = "unavailable"
    temporary = True
