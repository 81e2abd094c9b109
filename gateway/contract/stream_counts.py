"""The call that counts an organization's streams over all instances: `stream_counts.lua`, its key.

Only gateways make it; producers have no part in it. Nothing here talks to Redis.
"""

import hashlib

from gateway.contract.scripts import Call, Script

STREAM_COUNTS = Script("stream_counts.lua")


def stream_counts_key(organization_id: str) -> str:
    """The hash that holds the counts of *organization_id*.

    By digest, since an organization's name is any text: as it is, its braces could choose the
    cluster node. The key of no execution begins like this.
    """
    digest = hashlib.blake2b(organization_id.encode("utf-8", "surrogatepass"), digest_size=16)
    return f"sse:census:{digest.hexdigest()}"


def stream_counts_call(
    organization_id: str, *, instance: str, held: int, wanted: int, limit: int, lease_ms: int
) -> Call:
    """Say that *instance* holds so many streams, and ask for *wanted* more; answers how many
    of those it may open. With nothing held and nothing granted its count is removed.
    """
    return Call(
        STREAM_COUNTS,
        [stream_counts_key(organization_id)],
        [instance, held, wanted, limit, lease_ms],
    )
