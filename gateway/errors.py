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
    ├── PublishForbidden    403
    ├── ExecutionNotFound   404
    ├── ListsUnavailable    404
    ├── RunNotFound         404
    ├── RequestTimedOut     408
    ├── Conflict            409
    ├── LengthRequired      411
    ├── BodyTooLarge        413
    ├── UriTooLong          414
    ├── RunTooLarge         413
    ├── TooManyEvents       413
    ├── UnsupportedType     415
    ├── KeyReused           422
    ├── LimitReached        429, temporary
    └── Unavailable         503, temporary
"""

from collections.abc import Sequence


class GatewayError(Exception):
    """Base of all errors of the gateway; `str(error)` is a sentence for the user, or several, one a
    line."""

    EXIT_STATUS = 1
    """Of the process that it ends."""


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
    reason = ""
    """A closer word than the code, for metrics: the answer does not have it."""
    retry_after = 3
    """Seconds after which a temporary refusal may be tried again."""
    ids: Sequence[str] = ()
    """Of what an earlier call has published."""
    index: int | None = None
    """Of the event that is wrong, in a call that publishes several."""

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


class PublishForbidden(RequestRefused):
    """A valid token without the right to publish events of this execution. One answer for an
    execution that the token does not list and for another organization's: nobody can probe."""

    status = 403
    code = "execution_forbidden"
    message = "The token may not publish events of this execution: use one that may, or another id."


class ExecutionNotFound(RequestRefused):
    """Unknown, or another organization's: one answer for both, so that nobody can probe."""

    status = 404
    code = "execution_not_found"
    message = (
        "Execution not found for this organization. Register the execution first, for this "
        'organization: see "Connect your own workers" in the README.'
    )


class ListsUnavailable(RequestRefused):
    """The backend decides who may see what, and nobody can ask it for a list."""

    status = 404
    code = "lists_unavailable"
    message = (
        "There are no lists here: your backend decides on each execution. Set "
        "GATEWAY_BACKEND_LIST_URL, where it says which executions of a page may be shown."
    )


class RunNotFound(RequestRefused):
    """No run with this epoch is kept of the execution, which the asker may see."""

    status = 404
    code = "run_not_found"
    message = "No run with this epoch is kept: leave `epoch` out to get the present run."


class RegistrationLost(ExecutionNotFound):
    """Of an open stream: Redis has lost the registration that it was admitted by."""


class RequestTimedOut(RequestRefused):
    """A request whose body did not arrive in time."""

    status = 408
    code = "request_timeout"
    message = "The request's body did not arrive in time: send the request again."


class Conflict(RequestRefused):
    """What is asked for contradicts what is known of the organization's own execution."""

    status = 409


class LengthRequired(RequestRefused):
    """A body of a length that is not known before it has arrived."""

    status = 411
    code = "length_required"
    message = "The length of the body is not known: send it with Content-Length, not in chunks."


class BodyTooLarge(RequestRefused):
    """A request with a larger body than any request here needs."""

    status = 413
    code = "body_too_large"

    def __init__(self, most: int) -> None:
        """*most*: bytes that a body may have."""
        super().__init__(f"The body has more than {most} bytes: send none, or a shorter one.")


class TooManyEvents(RequestRefused):
    """A call that publishes more events than one may."""

    status = 413
    code = "too_many_events"


class UriTooLong(RequestRefused):
    """A request line that is longer than every proxy takes."""

    status = 414
    code = "uri_too_long"

    def __init__(self, most: int) -> None:
        """*most*: bytes that a request line may have."""
        super().__init__(
            f"The request line has more than {most} bytes: get a ticket for these executions, and "
            "send that."
        )


class RunTooLarge(RequestRefused):
    """A run document that is larger than one answer may be."""

    status = 413
    code = "run_too_large"
    message = (
        "The run is larger than one answer may be: ask for it in pages, with `limit` and `after`."
    )


class UnsupportedType(RequestRefused):
    """A body of a type that is not read here."""

    status = 415
    code = "unsupported_media_type"


class KeyReused(RequestRefused):
    """An idempotency key of another call."""

    status = 422
    code = "idempotency_key_reused"
    message = (
        "This Idempotency-Key was sent with another body in the last five minutes: give each call "
        "a key of its own, and repeat a call without a change."
    )

    def __init__(self, ids: Sequence[str]) -> None:
        """*ids*: that the first call with this key was given."""
        super().__init__()
        self.ids = ids


class LimitReached(RequestRefused):
    """More streams, polls, tickets or events than a limit allows."""

    status = 429
    code = "limit_reached"
    temporary = True


class Unavailable(RequestRefused):
    """The gateway cannot serve now, mostly because Redis is away."""

    status = 503
    code = "unavailable"
    temporary = True
