"""What the producers' library raises.

GatewayError
├── EventRefused            it can be no event; nothing was sent
│   └── EventTooLarge
├── PublishFailed           Redis did not take it before the deadline, or refuses it
├── BufferFull              too many events wait already; this one was not taken
└── RegistrationRefused     of `gateway.contract.registration`
"""

from gateway.errors import GatewayError


class EventRefused(GatewayError):
    """What was given can be no event; `str(error)` says why. Nothing was sent."""


class EventTooLarge(EventRefused):
    """The event has more bytes than the gateway lets through. Nothing was sent."""


class PublishFailed(GatewayError):
    """Redis did not take what was sent, or its answer was lost.

    The event may have got through all the same. Publishing it again with the `idempotency_key` of
    this error within five minutes does not double it.
    """

    def __init__(self, message: str, idempotency_key: str | None = None) -> None:
        super().__init__(message)
        self.idempotency_key = idempotency_key


class BufferFull(GatewayError):
    """The buffer holds as many events as it may. This one was not taken."""
