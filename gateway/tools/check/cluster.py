"""Checks a cluster: which nodes it has, and that each primary answers, records and is fit."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from gateway.bus import scripts
from gateway.bus.cluster import Cluster
from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.bus.node import Node
from gateway.bus.probe import probe_call
from gateway.tools.check.finding import Finding, Topic

Check = Callable[[Redis], Awaitable[list[Finding]]]

_TOPIC = Topic("Redis cluster")


async def check_cluster(cluster: Cluster, checks: Sequence[Check]) -> list[Finding]:
    """Findings about the whole, and about each primary, which *checks* are made of too.

    Raises what redis-py does where no node answers.
    """
    await cluster.nodes.refresh()
    primaries = cluster.primaries()
    names = ", ".join(name_of(node) for node in primaries)
    found = [_TOPIC.ok(f"The cluster has {len(primaries)} primaries: {names}.")]
    if missing := cluster.nodes.unserved():
        found.append(
            _TOPIC.error(
                f"{missing} of its slots have no node: their executions are unavailable.",
                "See redis-cli --cluster check, and start the node that is missing.",
            )
        )
    for node in primaries:
        found += [replace(one, about=f"Redis {name_of(node)}") for one in await _of(node, checks)]
        found += await _recording(cluster, node)
    return found


def name_of(node: Node) -> str:
    """The address of *node*."""
    host, port = node.address
    return f"{host}:{port}"


async def _of(node: Node, checks: Sequence[Check]) -> list[Finding]:
    found: list[Finding] = []
    try:
        for check in checks:
            # `check_rights` finds the refusal too, and names the right.
            with suppress(NoPermissionError):
                found += await check(node.client)
    except REDIS_ERRORS as error:
        remedy = "Without it, the executions of its slots are unavailable."
        found.append(_TOPIC.error(describe_redis_error(error), remedy))
    return found


async def _recording(cluster: Cluster, node: Node) -> list[Finding]:
    call = probe_call(node, cluster)
    if call is None or node.problem is not None:
        return []
    try:
        await scripts.run(cluster, call)
    except NoPermissionError:
        return []
    except REDIS_ERRORS as error:
        sentence = f"{name_of(node)} records no event: {describe_redis_error(error)}"
        return [_TOPIC.error(sentence, "Until then, events of its executions have no history.")]
    return [_TOPIC.ok(f"{name_of(node)} records events.")]
