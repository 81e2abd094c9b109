"""Names of Redis keys and channels (CONTRACT.md).

The braces around the execution id are a hash tag: all keys of an execution are on one node of a
cluster. `!` is in no execution id, so a name with it belongs to no execution. Ids are validated
before they become part of a name.
"""

import hashlib
import re
from typing import Literal, NamedTuple

CANARY_MARK = "!canary:"
"""Begins the canary's part of the channel name."""

LIST_MARK = "!list:"
"""Begins that part of the name of an organization's channel for its list of executions."""

PROBE_PREFIX = "sse-gateway-check-"
"""Begins the id of an execution that `sse-gateway check` makes up for a test."""

RECORDING_PROBE_PREFIX = "sse-gateway-probe-"
"""The same, of one with which a gateway sees whether Redis records."""


def channel(prefix: str, execution_id: str) -> str:
    """The channel on which producers PUBLISH the events of an execution."""
    return f"{prefix}{execution_id}"


def live_channel(execution_id: str) -> str:
    """The execution's own channel: events that are in its history, with their ids."""
    return f"sse:{{{execution_id}}}:live"


def execution_of_live(channel: bytes) -> str | None:
    """The execution whose own channel this is; None for any other channel."""
    found = re.fullmatch(rb"sse:\{(.+)\}:live", channel)
    return found[1].decode("utf-8", "replace") if found is not None else None


PublishTo = Literal["pattern", "execution", "both"]
"""Where events are published: on the channel below the prefix, for gateways that subscribe to the
pattern; on the execution's own, for those that subscribe to what is watched; or on both."""

LiveCommand = Literal["", "PUBLISH", "SPUBLISH"]
"""With what scripts publish on the execution's own channel; empty: they do not."""


class Channels(NamedTuple):
    """Where a script publishes the events of one execution."""

    channel: str
    """Empty for nowhere but on the execution's own."""
    live: LiveCommand = ""


def live_command(*, in_cluster: bool) -> LiveCommand:
    """With what scripts publish there, if they do."""
    return "SPUBLISH" if in_cluster else "PUBLISH"


def channels_of(
    to: PublishTo, prefix: str, execution_id: str, *, in_cluster: bool = False
) -> Channels:
    """Where the events of an execution go."""
    return Channels(
        "" if to == "execution" else channel(prefix, execution_id),
        "" if to == "pattern" else live_command(in_cluster=in_cluster),
    )


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


def call_key(execution_id: str, idempotency_key: str) -> str:
    """The ids that a call over HTTP with this idempotency key was given."""
    return f"sse:{{{execution_id}}}:call:{idempotency_key}"


def seen_key(execution_id: str) -> str:
    """The bare messages that were recorded, by digest."""
    return f"sse:{{{execution_id}}}:seen"


def order_key(execution_id: str) -> str:
    """The digests of recorded bare messages, oldest first."""
    return f"sse:{{{execution_id}}}:order"


def answer_key(execution_id: str, instance: str) -> str:
    """The last answer of `record.lua` to one instance."""
    return f"sse:{{{execution_id}}}:answer:{instance}"


def memory_key(execution_id: str) -> str:
    """On a cluster, a hash of all that the keys above hold elsewhere; see `own_keys.lua`."""
    return f"sse:{{{execution_id}}}:memory"


def ticket_key(digest: str) -> str:
    """What a ticket is valid for, by the ticket's digest."""
    return f"sse:{{!ticket:{digest}}}"


def list_order_key(organization_id: str) -> str:
    """A sorted set: the executions of an organization, by the time of their last activity."""
    return f"sse:{{{LIST_MARK}{list_digest(organization_id)}}}:order"


def list_about_key(organization_id: str) -> str:
    """A hash: what is known of each of them, and the version of all."""
    return f"sse:{{{LIST_MARK}{list_digest(organization_id)}}}:about"


def list_channel(prefix: str, organization_id: str) -> str:
    """The channel on which a change of the list is announced that is no event."""
    return f"{prefix}{LIST_MARK}{list_digest(organization_id)}"


def list_digest(organization_id: str) -> str:
    """By digest, since an organization's name is any text: its braces could choose the cluster
    node."""
    return hashlib.sha256(organization_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
