"""Names of Redis keys and channels (CONTRACT.md).

The braces around the execution id are a hash tag: all keys of an execution are on one node of a
cluster. `!` is in no execution id, so a name with it belongs to no execution. Ids are validated
before they become part of a name.
"""

import re

CANARY_MARK = "!canary:"
"""Begins the canary's part of the channel name."""

PROBE_PREFIX = "sse-gateway-check-"
"""Begins the id of an execution that `sse-gateway check` makes up for a test."""

RECORDING_PROBE_PREFIX = "sse-gateway-probe-"
"""The same, of one with which a gateway sees whether Redis records."""


def channel(prefix: str, execution_id: str) -> str:
    """The channel on which producers PUBLISH the events of an execution."""
    return f"{prefix}{execution_id}"


def channel_pattern(prefix: str) -> str:
    """The pattern for PSUBSCRIBE to every execution. A user's rights must have exactly this one."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", prefix) + "*"


def canary_channel(prefix: str, instance: str) -> str:
    """The channel of this gateway's own health canary."""
    return f"{prefix}{CANARY_MARK}{instance}"


def meta_key(execution_id: str, run: str = "") -> str:
    """A hash: whose execution it is, and the state of its history. *run*: the name of a former run
    of a restarted execution; `RunMeta.runs` has them."""
    return f"sse:{{{execution_id}}}:{_former(run)}meta"


def events_key(execution_id: str, run: str = "") -> str:
    """The stream that is its history; *run*: see `meta_key`."""
    return f"sse:{{{execution_id}}}:{_former(run)}events"


def _former(run: str) -> str:
    # In braces, so that it is among the keys that publishers of earlier releases may use.
    return f"former:{{{run}}}:" if run else ""


def once_key(execution_id: str, idempotency_key: str) -> str:
    """The event id that this idempotency key was given."""
    return f"sse:{{{execution_id}}}:once:{idempotency_key}"


def seen_key(execution_id: str) -> str:
    """The bare messages that were recorded, by digest."""
    return f"sse:{{{execution_id}}}:seen"


def order_key(execution_id: str) -> str:
    """The digests of recorded bare messages, oldest first."""
    return f"sse:{{{execution_id}}}:order"


def answer_key(execution_id: str, instance: str) -> str:
    """The last answer of `record.lua` to one instance."""
    return f"sse:{{{execution_id}}}:answer:{instance}"


def ticket_key(digest: str) -> str:
    """What a ticket is valid for, by the ticket's digest."""
    return f"sse:{{!ticket:{digest}}}"
