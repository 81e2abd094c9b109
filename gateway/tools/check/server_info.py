"""Examines what Redis says about itself (INFO): its version, replicas, eviction and persistence."""

from collections.abc import Mapping
from typing import Any

from gateway.bus.errors import PROBLEMS
from gateway.bus.probe import wrong_server
from gateway.settings import Settings
from gateway.settings.redis_url import is_cluster_url, is_sentinel_url
from gateway.tools.check.finding import Finding, Topic

_TOPIC = Topic("Redis")

Info = Mapping[str, Any]


def judge_info(settings: Settings, info: Info) -> list[Finding]:
    """The findings for a server that answered *info*."""
    return [
        *_judge_kind(info, in_cluster=is_cluster_url(settings.redis_url)),
        _judge_eviction(info),
        *_judge_replicas(settings, info),
        *_judge_persistence(settings, info),
    ]


def _judge_kind(info: Info, *, in_cluster: bool) -> list[Finding]:
    """Whether this is a master that is new enough, and in a cluster if REDIS_URL says so."""
    name = f"Redis {info.get('redis_version', '?')}"
    if "valkey_version" in info:
        name = f"Valkey {info['valkey_version']}"
    if (code := wrong_server(info, in_cluster=in_cluster)) is not None:
        problem = PROBLEMS[code]
        remedy = f"{problem.remedy[0].upper()}{problem.remedy[1:]}."
        return [_TOPIC.error(f"This is {name}. {problem.what}.", remedy)]
    found = [_TOPIC.ok(f"{name} is new enough.")]
    if not info.get("connected_slaves"):
        found.append(
            _TOPIC.note(
                "This Redis has no replica: while it is down, no event arrives.",
                "With a replica, a failover takes seconds."
                if in_cluster
                else "With a replica and Sentinels, a failover takes seconds.",
            )
        )
    return found


def _judge_replicas(settings: Settings, info: Info) -> list[Finding]:
    """Whether a master that is cut off from its replicas stops accepting what would be lost."""
    # Shown only where both settings of min-replicas are above 0.
    if not info.get("connected_slaves") or "min_slaves_good_slaves" in info:
        return []
    fails_over = is_sentinel_url(settings.redis_url) or is_cluster_url(settings.redis_url)
    finding = _TOPIC.warning if fails_over else _TOPIC.note
    return [
        finding(
            "min-replicas-to-write is 0: a master that is cut off from its replicas accepts events "
            "that are lost when one of them takes over.",
            "Set min-replicas-to-write 1 and min-replicas-max-lag 10, with two replicas: without "
            "any, Redis then refuses to write.",
        )
    ]


def _judge_eviction(info: Info) -> Finding:
    policy, memory = str(info.get("maxmemory_policy", "")), info.get("maxmemory")
    remedy = "Set maxmemory-policy noeviction, in a Redis that no cache shares."
    if policy.startswith("allkeys-"):
        return _TOPIC.error(
            f"maxmemory-policy is {policy}: Redis evicts histories, registrations and revocations "
            "when memory is short.",
            remedy,
        )
    if policy.startswith("volatile-"):
        return _TOPIC.warning(
            f"maxmemory-policy is {policy}: all keys of the gateway have an expiry, so Redis may "
            "evict them when memory is short.",
            remedy,
        )
    if not memory:
        return _TOPIC.note(
            "Redis evicts nothing (noeviction), and its memory has no limit (maxmemory 0).",
            "Set maxmemory below the memory of the machine, so that Redis refuses writes in time.",
        )
    return _TOPIC.ok("Redis evicts nothing when memory is short (noeviction).")


def _judge_persistence(settings: Settings, info: Info) -> list[Finding]:
    """Whether the data survives a restart of Redis."""
    found = []
    if info.get("rdb_last_bgsave_status") == "err":
        found.append(
            _TOPIC.warning(
                "Redis could not save its last snapshot; it then usually refuses writes (MISCONF).",
                "See its log: the disk is full, or its directory is not writable.",
            )
        )
    if info.get("aof_enabled") and info.get("aof_last_write_status") == "err":
        found.append(
            _TOPIC.error(
                "Redis could not write its append-only file, and refuses writes (MISCONF).",
                "See its log: the disk is full, or its directory is not writable.",
            )
        )
    if not info.get("aof_enabled"):
        # Without its registration an execution is unknown, and its streams end.
        is_registry = settings.ownership == "registry"
        finding = _TOPIC.warning if is_registry else _TOPIC.note
        found.append(
            finding(
                "Redis writes no append-only file: a restart loses everything since the last "
                "snapshot, registrations and revocations too.",
                "Set appendonly yes.",
            )
        )
    return found
