"""Who was shut out, as it stands in Redis: one sorted set, and a version that tells of a change.

| Name | What |
|---|---|
| sorted set `sse:{!revocations}:members` | `<kind>:<value>`, its score the second it ends at |
| string `sse:{!revocations}:version` | random, new with every change, written in the same MULTI |

The version is random and not a count: after a failover to a replica that had missed a change, the
next change would give the same number to another set. It never expires, so where it is missing
Redis has lost its memory. Nothing here talks to Redis.
"""

from typing import Literal, get_args

Kind = Literal["subject", "token-id", "organization", "execution"]
"""What a revocation hits: the claims `sub` and `jti`, the organization asked for, the execution."""

KINDS: tuple[Kind, ...] = get_args(Kind)

MEMBERS_KEY = "sse:{!revocations}:members"
"""`!` can stand in no execution id, so no execution's keys are ever mistaken for these."""

VERSION_KEY = "sse:{!revocations}:version"


def member(kind: Kind, value: str) -> str:
    """How a revocation stands in the set."""
    return f"{kind}:{value}"


def parse_member(text: str) -> tuple[Kind, str] | None:
    """The kind and value of a member; None for one that a later version may have written."""
    name, _, value = text.partition(":")
    for kind in KINDS:
        if kind == name and value:
            return kind, value
    return None
