"""The least rights in Redis of each kind of user, as lines of its access-control list (ACL).

Redis checks what a script calls as if the user had sent it, so the scripts' commands are included.
`sse-gateway check --acl` prints these lines, and the gateways of the tests log in with them.
"""

from dataclasses import dataclass

from gateway.contract.keys import channel_pattern

# `append.lua`, and what calls it.
_APPEND = frozenset([
    "EVAL", "EVALSHA", "TIME", "INFO", "EXISTS", "PEXPIRE", "PTTL", "HSET", "HSETNX", "HMGET",
    "HEXISTS", "RENAME", "XADD", "XRANGE", "XREVRANGE", "XTRIM",
])  # fmt: skip
_PUBLISH = _APPEND | {"GET", "SET", "PUBLISH"}
# The last two are for publishers of releases before `register.lua`.
_REGISTER = frozenset(["EVAL", "EVALSHA", "HMGET", "HSET", "PTTL", "PEXPIRE", "HSETNX", "HGET"])
_REVOKE = frozenset([
    "WATCH", "MULTI", "EXEC", "ZADD", "ZRANGE", "ZREMRANGEBYSCORE", "ZSCORE", "ZSCAN", "EXPIREAT",
    "SET",
])  # fmt: skip
_FORGET = frozenset(["SCAN", "HGET", "PEXPIRE"])

WITHOUT = {
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

    def rules(self, channel_prefix: str, *, selects: bool = False) -> list[str]:
        """What `ACL SETUSER` takes after the user's name and password; for Redis 6.2 or later.

        *selects*: where the URL names another database than 0.
        """
        commands = self.commands | ({"SELECT"} if selects else set())
        return [
            # A new user of Redis 6.2 may use every channel by default.
            "resetchannels",
            *(f"~{pattern}" for pattern in self.keys),
            f"&{channel_pattern(channel_prefix)}",
            *(f"+{command.lower()}" for command in sorted(commands)),
        ]

    def acl_line(self, channel_prefix: str, *, selects: bool = False) -> str:
        """The whole line, for redis-cli's prompt; the user replaces PASSWORD."""
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
    # WAIT is for `min_replicas`.
    _PUBLISH | _REGISTER | {"WAIT"},
    # Not the revocations, nor tickets.
    ("sse:{*}:meta", "sse:{*}:events", "sse:{*}:once:*"),
)

WORKER = Role("worker", "workers that only PUBLISH", frozenset({"PUBLISH"}), ())

OPERATOR = Role(
    "operator",
    "people who use `sse-gateway register`, `status`, `publish`, `restart`, `forget` and `revoke`",
    _PUBLISH | _REGISTER | _REVOKE | _FORGET | {"HGETALL"},
    ("sse:*",),
)

ROLES = (GATEWAY, PUBLISHER, WORKER, OPERATOR)
