"""Calls of the scripts as on a cluster, each with one event."""

from collections.abc import Callable
from typing import Any

from gateway.contract.registration import Registration
from gateway.contract.scripts import (
    BareMessage,
    Call,
    HistoryLimits,
    NewEvent,
    publish_call,
    publish_many_call,
    read_call,
    record_call,
)

PAYLOAD = b'{"type":"step:started"}'


def publish(execution_id: str, key: str = "key", once_ms: int = 0, **more: Any) -> Call:
    call = publish_call(
        execution_id,
        PAYLOAD,
        channel=f"execution:{execution_id}",
        idempotency_key=key,
        terminal_type="",
        limits=HistoryLimits(),
        live="SPUBLISH",
        **{"in_cluster": True, **more},
    )
    call.arguments[6] = once_ms or call.arguments[6]
    return call


def publish_many(execution_id: str) -> Call:
    return publish_many_call(
        execution_id,
        [NewEvent(PAYLOAD, "", "started", "")] * 3,
        channel=f"execution:{execution_id}",
        organization_id="acme",
        idempotency_key="key",
        digest="ab",
        limits=HistoryLimits(),
        live="SPUBLISH",
        in_cluster=True,
    )


def record(execution_id: str, batch: int = 1, digest: bytes = b"digest") -> Call:
    return record_call(
        execution_id,
        [BareMessage(PAYLOAD, digest, "")],
        instance="instance",
        since=0,
        batch=batch,
        limits=HistoryLimits(),
        in_cluster=True,
    )


def record_again(execution_id: str) -> Call:
    return record(execution_id, 2)


def register(execution_id: str) -> Call:
    return Registration(execution_id, "acme").call(HistoryLimits(), in_cluster=True)


CALLS: dict[str, Callable[[str], Call]] = {
    "publish": publish,
    "publish_many": publish_many,
    "record": record,
    "register": register,
    "read": lambda one: read_call(one, "", 1000),
}
