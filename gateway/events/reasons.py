"""Why the gateway ends a stream before the execution has ended: one closed list.

Clients branch on these words, so a new one is a change of the contract (CONTRACT.md).
"""

from enum import StrEnum


class CloseReason(StrEnum):
    """The `reason` of `stream:closing`."""

    DRAIN = "drain"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - a word of the contract, no secret
    REVOKED = "revoked"
    SLOW_READER = "slow_reader"
    HISTORY_LOST = "history_lost"
    MAX_AGE = "max_age"
    ADMIN = "admin"
    UNAVAILABLE = "unavailable"
    LIMIT = "limit"
