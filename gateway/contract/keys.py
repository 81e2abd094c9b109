"""Names of Redis keys and channels, each in one place (design, section 3).

The braces around the execution id are a hash tag: all keys of an execution live on one node of a
cluster. Ids are validated before they become part of a name.
"""

CANARY_MARK = "!canary:"
"""Begins the canary's place in the channel name; `!` can stand in no execution id."""


def channel(prefix: str, execution_id: str) -> str:
    """The channel on which producers PUBLISH the events of an execution."""
    return f"{prefix}{execution_id}"


def canary_channel(prefix: str, instance: str) -> str:
    """The channel of this gateway's own health canary."""
    return f"{prefix}{CANARY_MARK}{instance}"


def meta_key(execution_id: str) -> str:
    """The hash that says whose execution it is."""
    return f"sse:{{{execution_id}}}:meta"
