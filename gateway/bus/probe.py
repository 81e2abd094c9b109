"""The probe: whether Redis is the right server and records, also while nobody publishes.

Every few seconds the shared pipeline calls the recording script once, on keys of its own, and sends
INFO to learn what the server is.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from gateway.bus.cluster import Cluster
from gateway.bus.connection import create_redis
from gateway.bus.errors import REDIS_ERRORS, code_of, describe_code, describe_redis_error
from gateway.bus.node import Node
from gateway.bus.questions import Question
from gateway.contract.keys import RECORDING_PROBE_PREFIX, meta_key
from gateway.contract.scripts import BareMessage, Call, HistoryLimits, record_call
from gateway.errors import ConfigurationError
from gateway.settings import variable

OLDEST = (6, 2)
"""The first version of Redis that has all that the scripts need."""

_TTL_MS = 15_000
_LIMITS = HistoryLimits(max_events=1, open_ttl_ms=_TTL_MS, history_ttl_ms=_TTL_MS)

_ASKED_AT_START = 1.0
"""Seconds that a start waits for what Redis is."""

_TRIES = 10_000
"""Random ids until one is of a node's slots, which may be few."""

_READS_GO_ON = frozenset(["OOM", "MISCONF", "NOREPLICAS"])


def probe_call(node: Node | None, redis: Redis) -> Call | None:
    """Records an event of an execution that nobody watches, and that is forgotten soon. *node*: of
    the cluster *redis*, where it is to be recorded. None: no id of one of its slots was found."""
    name: str | None = secrets.token_hex(8)
    if isinstance(redis, Cluster) and node is not None:
        names = (secrets.token_hex(8) for _ in range(_TRIES))
        name = redis.nodes.first_at(node, names, lambda one: meta_key(_execution_of(one)))
    if name is None:
        return None
    return record_call(
        _execution_of(name),
        [BareMessage(b"{}", name.encode(), "")],
        instance=name,
        since=0,
        batch=1,
        limits=_LIMITS,
        seen_ttl_ms=_TTL_MS,
        in_cluster=isinstance(redis, Cluster),
    )


def _execution_of(name: str) -> str:
    return f"{RECORDING_PROBE_PREFIX}{name}"


def only_degrades(refusal: Exception) -> bool:
    """Whether streams open and read history all the same, so that this gateway is as good as any:
    Redis refuses to write, or a command of the script that only recording needs."""
    text = str(refusal).lower()
    is_in_script = "script" in text and "info" not in text
    return code_of(refusal) in _READS_GO_ON or (code_of(refusal) == "NOPERM" and is_in_script)


def wrong_server(info: Mapping[str, Any], *, in_cluster: bool = False) -> str | None:
    """The code of what is wrong with a server that has this *info* of itself; None if it is fit.
    *in_cluster*: whether REDIS_URL says that it is a node of one."""
    version = [int(part) for part in str(info.get("redis_version", "99")).split(".")[:2]]
    if tuple(version) < OLDEST:
        return "old"
    mode = info.get("redis_mode", info.get("server_mode"))
    if mode is not None and ("cluster" in (mode, info.get("server_mode"))) != in_cluster:
        return "single" if in_cluster else "MOVED"
    return "READONLY" if info.get("role") == "slave" else None


async def refuse_wrong_kind(redis_url: str) -> None:
    """Called at a start; a Redis that does not answer at once is no reason against it.

    Raises:
        ConfigurationError: *redis_url* leads to a node of a cluster and does not say so, or says so
            of a Redis that is none.
    """
    with suppress(*REDIS_ERRORS):
        async with create_redis(redis_url, max_connections=1, retries=0) as redis:
            async with asyncio.timeout(_ASKED_AT_START):
                code = await _wrong_kind(redis)
        if code is not None:
            raise ConfigurationError([f"{variable('redis_url')}: {describe_code(code)}"])


async def _wrong_kind(redis: Redis) -> str | None:
    if not isinstance(redis, Cluster):
        code = wrong_server(await redis.info("server"))
        return code if code == "MOVED" else None
    try:
        await redis.nodes.refresh()
    except ResponseError as error:
        return "single" if code_of(error) == "single" else None
    return None


@dataclass(slots=True)
class _Server:
    """What is known of one server."""

    info: dict[str, Any] = field(default_factory=dict)
    refusal: Exception | None = None
    sends_text: bool = False


class Probe:
    """The probe of one gateway, by regular `questions`."""

    rounds: ClassVar = 5
    """The shared pipelines, one a second, from one probe to the next; after a refusal each has
    one."""

    def __init__(self, redis: Redis) -> None:
        """Of a cluster, all primaries are asked."""
        self._redis = redis
        self._servers: dict[Node | None, _Server] = {}
        self.on_recorded: Callable[[], None] = lambda: None
        """Called whenever it has recorded, everywhere."""
        self.ask_soon: Callable[[], None] = lambda: None
        """Called to have the next probe in the next round."""

    @property
    def refusal(self) -> Exception | None:
        """Why Redis does not record; None while it does, or is away."""
        return next((one.refusal for one in self._servers.values() if one.refusal), None)

    @property
    def server_problem(self) -> str | None:
        """Why this is the wrong server, as a sentence."""
        in_cluster = isinstance(self._redis, Cluster)
        codes = (wrong_server(one.info, in_cluster=in_cluster) for one in self._servers.values())
        code = next((one for one in codes if one), None)
        return describe_code(code) if code else None

    @property
    def problem(self) -> str | None:
        """Why no event can be recorded, as a sentence."""
        if (refusal := self.refusal) is None:
            return None
        return f"No event can be recorded: {describe_redis_error(refusal)}"

    def questions(self) -> Sequence[Question]:
        """One probe, every `rounds`."""
        redis = self._redis
        nodes = redis.primaries() if isinstance(redis, Cluster) else [None]
        self._servers = {node: self._servers.get(node) or _Server() for node in nodes}
        return [one for node, server in self._servers.items() for one in self._ask(node, server)]

    def _ask(self, node: Node | None, server: _Server) -> Iterator[Question]:
        yield Question(("INFO", "server"), partial(_is, server), node)
        yield Question(("INFO", "replication"), partial(_is, server), node)
        if (call := probe_call(node, self._redis)) is not None:
            script, keys, arguments = call
            name, text = ("EVAL", script.text) if server.sends_text else ("EVALSHA", script.sha)
            command = (name, text, len(keys), *keys, *arguments)
            yield Question(command, partial(self._answered, server), node)

    def _answered(self, server: _Server, answer: object) -> None:
        server.sends_text = isinstance(answer, NoScriptError)
        if server.sends_text:
            self.ask_soon()
        elif isinstance(answer, ResponseError):
            self.ask_soon()
            server.refusal = answer
        elif not isinstance(answer, Exception):
            server.refusal = None
            if self.refusal is None:
                self.on_recorded()


def _is(server: _Server, answer: object) -> None:
    if isinstance(answer, dict):
        server.info.update(answer)
