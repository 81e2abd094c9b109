"""The probe: whether Redis is the right server and records, also while nobody publishes.

Every few seconds the shared pipeline has one script call as recording makes it, on keys of its own,
and asks INFO what the server is.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from gateway.bus.connection import create_redis
from gateway.bus.errors import REDIS_ERRORS, code_of, describe_code, describe_redis_error
from gateway.bus.questions import Question
from gateway.contract.keys import RECORDING_PROBE_PREFIX
from gateway.contract.scripts import BareMessage, Call, HistoryLimits, record_call
from gateway.errors import ConfigurationError
from gateway.settings import variable

ROUNDS = 5
"""The shared pipelines, one a second, from one probe to the next; after a refusal each has one."""

OLDEST = (6, 2)
"""The first version of Redis that has all that the scripts need."""

_TTL_MS = 15_000
_LIMITS = HistoryLimits(max_events=1, open_ttl_ms=_TTL_MS, history_ttl_ms=_TTL_MS)

_ASKED_AT_START = 1.0
"""Seconds that a start waits for what Redis is."""

_READS_GO_ON = frozenset(["OOM", "MISCONF", "NOREPLICAS"])


def probe_call() -> Call:
    """Records an event of an execution that nobody watches, and that is forgotten soon."""
    name = secrets.token_hex(8)
    message = BareMessage(b"{}", name.encode(), "")
    return record_call(
        f"{RECORDING_PROBE_PREFIX}{name}",
        [message],
        instance=name,
        since=0,
        batch=1,
        limits=_LIMITS,
        seen_ttl_ms=_TTL_MS,
    )


def only_degrades(refusal: Exception) -> bool:
    """Whether streams open and read history all the same, so that this gateway is as good as any:
    Redis refuses to write, or a command of the script that only recording needs."""
    text = str(refusal).lower()
    is_in_script = "script" in text and "info" not in text
    return code_of(refusal) in _READS_GO_ON or (code_of(refusal) == "NOPERM" and is_in_script)


def wrong_server(info: Mapping[str, Any]) -> str | None:
    """The code of what is wrong with a server that has this *info* of itself; None if it is fit."""
    version = [int(part) for part in str(info.get("redis_version", "99")).split(".")[:2]]
    if tuple(version) < OLDEST:
        return "old"
    if "cluster" in (info.get("redis_mode"), info.get("server_mode")):
        return "MOVED"
    return "READONLY" if info.get("role") == "slave" else None


async def refuse_cluster(redis_url: str) -> None:
    """Called at a start; a Redis that does not answer at once is no reason against it.

    Raises:
        ConfigurationError: *redis_url* leads to a node of a cluster.
    """
    with suppress(*REDIS_ERRORS):
        async with create_redis(redis_url, max_connections=1, retries=0) as redis:
            async with asyncio.timeout(_ASKED_AT_START):
                code = wrong_server(await redis.info("server"))
        if code == "MOVED":
            raise ConfigurationError([f"{variable('redis_url')}: {describe_code(code)}"])


class Probe:
    """The probe of one gateway, by regular `questions`."""

    def __init__(self) -> None:
        self.refusal: Exception | None = None
        """Why Redis does not record; None while it does, or is away."""
        self.on_recorded: Callable[[], None] = lambda: None
        """Called whenever it has recorded."""
        self._info: dict[str, Any] = {}
        self._rounds = 0
        self._sends_text = False

    @property
    def server_problem(self) -> str | None:
        """Why this is the wrong server, as a sentence."""
        code = wrong_server(self._info)
        return describe_code(code) if code else None

    @property
    def problem(self) -> str | None:
        """Why no event can be recorded, as a sentence."""
        if self.refusal is None:
            return None
        return f"No event can be recorded: {describe_redis_error(self.refusal)}"

    def questions(self) -> Sequence[Question]:
        """What is due in this round."""
        self._rounds -= 1
        if self._rounds > 0:
            return []
        self._rounds = ROUNDS
        script, keys, arguments = probe_call()
        name, text = ("EVAL", script.text) if self._sends_text else ("EVALSHA", script.sha)
        return [
            Question(("INFO", "server"), self._is),
            Question(("INFO", "replication"), self._is),
            Question((name, text, len(keys), *keys, *arguments), self._answered),
        ]

    def _is(self, answer: object) -> None:
        if isinstance(answer, dict):
            self._info.update(answer)

    def _answered(self, answer: object) -> None:
        self._sends_text = isinstance(answer, NoScriptError)
        if self._sends_text:
            self._rounds = 0
        elif isinstance(answer, ResponseError):
            self._rounds = 0
            self.refusal = answer
        elif not isinstance(answer, Exception):
            self.refusal = None
            self.on_recorded()
