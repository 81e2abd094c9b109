"""Names of Redis keys and channels, each in one place (CONTRACT.md).

The braces around the execution id are a hash tag: all keys of an execution live on one node of a
cluster. Ids are validated before they become part of a name.
"""

import re

CANARY_MARK = "!canary:"
"""Begins the canary's place in the channel name; `!` can stand in no execution id."""

PROBE_PREFIX = "sse-gateway-check-"
"""Begins the id of an execution that `sse-gateway check` makes up, and removes at once."""


def channel(prefix: str, execution_id: str) -> str:
    """The channel on which producers PUBLISH the events of an execution."""
    return f"{prefix}{execution_id}"


def channel_pattern(prefix: str) -> str:
    """What PSUBSCRIBE takes to hear every execution. A user's rights must hold it to the letter."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", prefix) + "*"


def canary_channel(prefix: str, instance: str) -> str:
    """The channel of this gateway's own health canary."""
    return f"{prefix}{CANARY_MARK}{instance}"


def meta_key(execution_id: str) -> str:
    """The hash that says whose execution it is."""
    return f"sse:{{{execution_id}}}:meta"


def events_key(execution_id: str) -> str:
    """The stream that holds its history."""
    return f"sse:{{{execution_id}}}:events"


def once_key(execution_id: str, idempotency_key: str) -> str:
    """Remembers the id that an idempotency key was given."""
    return f"sse:{{{execution_id}}}:once:{idempotency_key}"


def seen_key(execution_id: str) -> str:
    """The bare messages that were recorded, by digest."""
    return f"sse:{{{execution_id}}}:seen"


def order_key(execution_id: str) -> str:
    """The digests of recorded bare messages, oldest first."""
    return f"sse:{{{execution_id}}}:order"


def answer_key(execution_id: str, instance: str) -> str:
    """What the recorder last answered one instance."""
    return f"sse:{{{execution_id}}}:answer:{instance}"


def ticket_key(digest: str) -> str:
    """What a ticket is good for, by the ticket's digest; `!` can stand in no execution id."""
    return f"sse:{{!ticket:{digest}}}"
