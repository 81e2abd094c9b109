"""The least rights in Redis of each kind of user, as lines of its access-control list (ACL).

Redis checks what a script calls as if the user had sent it, so the scripts' commands are included.
`sse-gateway check --acl` prints these lines, and the gateways of the tests log in with them.
"""

from dataclasses import dataclass

from gateway.contract.keys import channel_pattern

OWN_CHANNELS = "sse:*"
"""The pattern for the own channels of executions."""

# `append.lua`, and what calls it.
_APPEND = frozenset([
    "EVAL", "EVALSHA", "TIME", "INFO", "EXISTS", "PEXPIRE", "PTTL", "HSET", "HSETNX", "HMGET",
    "HEXISTS", "RENAME", "XADD", "XRANGE", "XREVRANGE", "XTRIM",
])  # fmt: skip
_PUBLISH = _APPEND | {"GET", "SET", "PUBLISH"}
# The last two are for publishers of releases before `register.lua`.
_REGISTER = frozenset(["EVAL", "EVALSHA", "HMGET", "HSET", "PTTL", "PEXPIRE", "HSETNX", "HGET"])
# `index.lua`: without these, lists lack what this user registers until its first event.
_INDEX = frozenset(
    ["TIME", "HMGET", "HSET", "HDEL", "ZADD", "ZSCORE", "ZREM", "ZCARD", "ZRANGE", "PEXPIRE"]
)
_REVOKE = frozenset([
    "WATCH", "MULTI", "EXEC", "ZADD", "ZRANGE", "ZREMRANGEBYSCORE", "ZSCORE", "ZSCAN", "EXPIREAT",
    "SET",
])  # fmt: skip
_FORGET = frozenset(["SCAN", "HGET", "PEXPIRE"])

IN_CLUSTER = frozenset(["CLUSTER|SLOTS", "ASKING"])
"""What every role needs at the nodes of a cluster: who serves which slot, and a slot that moves."""

REMEMBERS = frozenset(["HGET", "HSET", "HDEL", "HRANDFIELD"])
"""What is needed there by those who publish: it is remembered in a hash."""

SHARDED = frozenset(["SSUBSCRIBE", "SUNSUBSCRIBE", "SPUBLISH", "CLUSTER|NODES"])
"""What a gateway needs there that subscribes to single executions."""

WITHOUT = {
    **dict.fromkeys(
        ("ZADD", "ZCARD", "ZRANGE", "ZREM", "ZSCORE"), "lists of executions stay as they are"
    ),
    **dict.fromkeys(
        ("SUBSCRIBE", "UNSUBSCRIBE", *SHARDED), "GATEWAY_SUBSCRIPTION=execution is not possible"
    ),
    "PTTL": "what nobody has registered is kept as long as any other execution",
    "RENAME": "the history of a run that is restarted is not kept",
    "XLEN": "some events are read only for their ids, which takes Redis longer where they are "
    "large",
}
"""Commands that the scripts can do without, since earlier releases did not ask for them; and what
happens then."""


@dataclass(frozen=True, slots=True)
class Role:
    """One kind of user, and all the rights that it needs."""

    name: str
    """Also the name of its user in Redis."""
    purpose: str
    commands: frozenset[str]
    keys: tuple[str, ...]
    """Patterns of keys."""
    channels: tuple[str, ...] = (OWN_CHANNELS,)
    """Patterns of channels, beside that of the prefix."""
    in_cluster: frozenset[str] = IN_CLUSTER
    """Commands, at the nodes of a cluster."""
    keys_in_cluster: tuple[str, ...] = ()

    def rules(
        self, channel_prefix: str, *, selects: bool = False, in_cluster: bool = False
    ) -> list[str]:
        """What `ACL SETUSER` takes after the user's name and password; for Redis 6.2 or later.

        *selects*: where the URL names another database than 0. *in_cluster*: at a node of a
        cluster.
        """
        commands = self.commands | ({"SELECT"} if selects else set())
        keys = self.keys
        if in_cluster:
            commands |= self.in_cluster
            keys += self.keys_in_cluster
        return [
            # A new user of Redis 6.2 may use every channel by default.
            "resetchannels",
            *(f"~{pattern}" for pattern in keys),
            f"&{channel_pattern(channel_prefix)}",
            *(f"&{pattern}" for pattern in self.channels),
            *(f"+{command.lower()}" for command in sorted(commands)),
        ]

    def acl_line(
        self, channel_prefix: str, *, selects: bool = False, in_cluster: bool = False
    ) -> str:
        """The whole line, for redis-cli's prompt; the user replaces PASSWORD."""
        rules = " ".join(self.rules(channel_prefix, selects=selects, in_cluster=in_cluster))
        return f"ACL SETUSER {self.name} reset on >PASSWORD {rules}"


GATEWAY = Role(
    "gateway",
    "`sse-gateway serve`, and `sse-gateway check` with its settings",
    _PUBLISH
    | _REGISTER
    | _INDEX
    | {"PSUBSCRIBE", "SUBSCRIBE", "UNSUBSCRIBE"}
    | {"GETDEL", "HDEL", "HGETALL", "RPUSH", "LPOP", "LLEN", "XLEN", "ZSCAN"},
    ("sse:*",),
    in_cluster=IN_CLUSTER | REMEMBERS | SHARDED,
)

PUBLISHER = Role(
    "publisher",
    "workers that use gateway.publisher, or call its script",
    # WAIT is for `min_replicas`.
    _PUBLISH | _REGISTER | _INDEX | {"WAIT"},
    # Not the revocations, nor tickets.
    (
        "sse:{*}:meta",
        "sse:{*}:events",
        "sse:{*}:once:*",
        "sse:{!list:*}:order",
        "sse:{!list:*}:about",
    ),
    in_cluster=IN_CLUSTER | REMEMBERS | {"SPUBLISH"},
    keys_in_cluster=("sse:{*}:memory",),
)

WORKER = Role("worker", "workers that only PUBLISH", frozenset({"PUBLISH"}), (), ())

OPERATOR = Role(
    "operator",
    "people who use `sse-gateway register`, `status`, `publish`, `restart`, `forget` and `revoke`",
    _PUBLISH | _REGISTER | _INDEX | _REVOKE | _FORGET | {"HGETALL"},
    ("sse:*",),
    in_cluster=IN_CLUSTER | REMEMBERS | {"SPUBLISH"},
)

ROLES = (GATEWAY, PUBLISHER, WORKER, OPERATOR)
