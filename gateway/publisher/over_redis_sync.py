"""How a publisher for threads sends by Redis: to one, by Sentinel, or to the nodes of a cluster."""

import math
import time
from collections.abc import Sequence
from contextlib import suppress

from redis import Redis
from redis.exceptions import NoScriptError
from redis.sentinel import SentinelConnectionPool

from gateway.bus.errors import REDIS_ERRORS, is_of_wrong_server
from gateway.bus.sentinel import MOST_AGE
from gateway.contract.registration import Registration
from gateway.contract.scripts import Call
from gateway.publisher.composer import Outgoing
from gateway.publisher.over_redis import RedisTarget, attempt, unlisted
from gateway.publisher.redis_cluster import SyncNodes
from gateway.publisher.redis_pool import connection_options, redis_pool
from gateway.publisher.retry import AttemptFailed
from gateway.settings.redis_url import as_redis_py_writes, is_cluster_url, parse_cluster_url


class SyncTransport:
    """Sends from threads; *timeout*: seconds of one attempt."""

    def __init__(self, target: RedisTarget, timeout: float) -> None:
        self._target = target
        self._timeout = timeout

    def publish(self, events: Sequence[Outgoing], began: int | None) -> list[str]:
        [event] = events
        with attempt(event):
            return [self._run(self._target.call(event, began)).decode()]

    def register(self, registration: Registration) -> None:
        with attempt():
            answer = self._run(self._target.register_call(registration))
        registration.check(answer)
        with unlisted(registration):
            self._run(self._target.index_call(registration))

    def close(self) -> None:
        raise NotImplementedError

    def _run(self, call: Call) -> bytes:
        raise NotImplementedError


class SyncCluster(SyncTransport):
    """The same to the nodes of a cluster."""

    def __init__(self, target: RedisTarget, timeout: float) -> None:
        super().__init__(target, timeout)
        url = as_redis_py_writes(target.url)
        self._nodes = SyncNodes(parse_cluster_url(url), connection_options(url, timeout))

    def close(self) -> None:
        self._nodes.close()

    def _run(self, call: Call) -> bytes:
        script, keys, arguments = call
        eval_ = ("EVAL", script.text, len(keys), *keys, *arguments)
        answer: bytes
        if self._target.min_replicas:
            answers = self._nodes.run(eval_, self._target.wait(self._timeout))
            return self._target.replicated(*answers)
        try:
            [answer] = self._nodes.run(("EVALSHA", script.sha, len(keys), *keys, *arguments))
        except NoScriptError:
            [answer] = self._nodes.run(eval_)
        return answer


class SyncRedis(SyncTransport):
    """The same to one Redis, or by Sentinel."""

    def __init__(self, target: RedisTarget, timeout: float) -> None:
        super().__init__(target, timeout)
        self._pool = redis_pool(as_redis_py_writes(target.url), timeout)
        self._redis = Redis.from_pool(self._pool)
        self._answered_at = -math.inf

    def close(self) -> None:
        self._redis.close()
        if isinstance(self._pool, SentinelConnectionPool):
            self._pool.sentinel_manager.close()

    def _run(self, call: Call) -> bytes:
        self._make_sure()
        try:
            return self._call(call)
        except (*REDIS_ERRORS, AttemptFailed) as error:
            self._answered_at = -math.inf
            if is_of_wrong_server(error):
                # The others resolve the name again too.
                self._pool.disconnect(inuse_connections=False)
            raise

    def _make_sure(self) -> None:
        """As `gateway.bus.sentinel.Master.make_sure`. No thread and no lock: others may ask too."""
        now = time.monotonic()
        if not isinstance(self._pool, SentinelConnectionPool) or now - self._answered_at < MOST_AGE:
            return
        self._answered_at = now
        # Sentinels that do not answer stop no write: the connections may work without them.
        with suppress(*REDIS_ERRORS):
            self._pool.get_master_address()

    def _call(self, call: Call) -> bytes:
        if self._target.min_replicas:
            with self._redis.pipeline(transaction=False) as pipeline:
                answers = self._target.with_wait(pipeline, call, self._timeout)
            return self._target.replicated(*answers)
        script, keys, arguments = call
        answer: bytes
        try:
            answer = self._redis.evalsha(script.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            answer = self._redis.eval(script.text, len(keys), *keys, *arguments)
        return answer


def sync_transport(target: RedisTarget, timeout: float) -> SyncTransport:
    """The one for what *target* names."""
    return (SyncCluster if is_cluster_url(target.url) else SyncRedis)(target, timeout)
