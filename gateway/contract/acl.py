"""The least rights in Redis of whoever takes part, as lines of its access-control list (ACL).

Redis checks what a script calls as if the user had sent it, so what the scripts need stands here
too. `sse-gateway check --acl` prints these lines, and the gateways of the tests log in with them.
Nothing here talks to Redis.
"""

from dataclasses import dataclass

from gateway.contract.keys import channel_pattern

_APPEND = frozenset(
    [
        "EVAL",
        "EVALSHA",
        "TIME",
        "INFO",
        "EXISTS",
        "PEXPIRE",
        "PTTL",
        "HSET",
        "HSETNX",
        "HMGET",
        "HEXISTS",
        "XADD",
        "XRANGE",
        "XREVRANGE",
        "XTRIM",
    ]
)
"""`append.lua`, and what calls it."""

_PUBLISH = _APPEND | {"GET", "SET", "PUBLISH"}
_REGISTER = frozenset(
    ["EVAL", "EVALSHA", "HMGET", "HSET", "PTTL", "PEXPIRE", "HSETNX", "HGET"],
)
"""`register.lua`; and the last two, by which publishers before it registered."""

WITHOUT = {
    "PTTL": "what nobody has registered is kept as long as any other execution",
    "XLEN": "some events are read for their ids alone, which takes time in Redis where they are "
    "large",
}
"""Commands that the scripts do without where they are refused, as to users who were given their
rights before these were needed; and what it costs."""

_REVOKE = frozenset(
    [
        "WATCH",
        "MULTI",
        "EXEC",
        "ZADD",
        "ZRANGE",
        "ZREMRANGEBYSCORE",
        "ZSCORE",
        "ZSCAN",
        "EXPIREAT",
        "SET",
    ]
)


@dataclass(frozen=True, slots=True)
class Role:
    """One way to take part, and all that it takes."""

    name: str
    """Also the name that its user is given."""
    purpose: str
    commands: frozenset[str]
    keys: tuple[str, ...]
    """Patterns of keys."""

    def commands_for(self, *, selects: bool) -> list[str]:
        """Its commands in order; *selects*: where the URL names another database than 0."""
        return sorted(self.commands | ({"SELECT"} if selects else set()))

    def rules(self, channel_prefix: str, *, selects: bool = False) -> list[str]:
        """What `ACL SETUSER` takes after the user's name and password; of Redis 6.2 or later."""
        return [
            # A new user of Redis 6.2 may use every channel unless told otherwise.
            "resetchannels",
            *(f"~{pattern}" for pattern in self.keys),
            f"&{channel_pattern(channel_prefix)}",
            *(f"+{command.lower()}" for command in self.commands_for(selects=selects)),
        ]

    def acl_line(self, channel_prefix: str, *, selects: bool = False) -> str:
        """The whole line, for redis-cli's prompt; the password is left to whoever pastes it."""
        rules = " ".join(self.rules(channel_prefix, selects=selects))
        return f"ACL SETUSER {self.name} reset on >PASSWORD {rules}"


GATEWAY = Role(
    "gateway",
    "`sse-gateway serve`, and `sse-gateway check` with its settings",
    _PUBLISH
    | _REGISTER
    | {"PSUBSCRIBE", "GETDEL", "HDEL", "HGETALL", "RPUSH", "LPOP", "LLEN", "XLEN", "ZSCAN"},
    ("sse:*",),
)

PUBLISHER = Role(
    "publisher",
    "workers that use gateway.publisher, or call its script",
    _PUBLISH | _REGISTER,
    # Not the revocations, nor tickets.
    ("sse:{*}:meta", "sse:{*}:events", "sse:{*}:once:*"),
)

WORKER = Role("worker", "workers that only PUBLISH", frozenset({"PUBLISH"}), ())

OPERATOR = Role(
    "operator",
    "people who use `sse-gateway register`, `status`, `publish` and `revoke`",
    _PUBLISH | _REGISTER | _REVOKE | {"HGETALL"},
    ("sse:*",),
)

ROLES = (GATEWAY, PUBLISHER, WORKER, OPERATOR)
