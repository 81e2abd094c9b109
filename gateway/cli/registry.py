"""`sse-gateway register` and `sse-gateway status`: the owner of an execution, and its state."""

import time
from collections.abc import Iterator, Sequence

import click
from redis.asyncio import Redis
from rich.table import Table

from gateway.bus import presence, registry
from gateway.bus.watching import watching_key
from gateway.cli.options import Name, execution_argument, redis_option, with_redis
from gateway.cli.output import console, echo
from gateway.contract.keys import events_key, meta_key
from gateway.events.ending import STANDARD, ending_of_type, parse_status, status_of
from gateway.events.json_edit import parse_object
from gateway.harmless import harmless


@click.command(
    epilog="Example: sse-gateway register run-42 --organization acme --workflow invoices"
)
@execution_argument
@click.option("--organization", type=Name(), required=True, help="Organization that may watch it.")
@click.option("--workflow", help="Workflow of this run.")
@redis_option
def register(execution_id: str, organization: str, workflow: str | None, redis_url: str) -> None:
    """Register execution ID, so that its organization may watch it."""
    with_redis(
        redis_url, lambda redis: registry.register(redis, execution_id, organization, workflow)
    )
    echo(f"{execution_id} belongs to {organization}: its streams open now.")


@click.command(
    short_help="Show what Redis knows of execution ID.", epilog="Example: sse-gateway status run-42"
)
@execution_argument
@redis_option
def status(execution_id: str, redis_url: str) -> None:
    """Show what Redis knows of execution ID; exit status 1 when it is not registered."""
    known = with_redis(redis_url, lambda redis: _read(redis, execution_id))
    if "forgotten" in known:
        echo(f"{execution_id} was forgotten, and cannot be registered again for a day after that.")
        raise SystemExit(1)
    if "organization_id" not in known:
        echo(
            f"{execution_id} is not registered, so under ownership `registry` nobody can watch it: "
            f"sse-gateway register {execution_id} --organization ORG",
        )
        if "dropped" in known:
            echo(harmless(f"{known['dropped']} messages were dropped: {known['dropped_reason']}."))
        raise SystemExit(1)
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    # Folded, not cut: the beginning of a name may be another organization's.
    table.add_column(overflow="fold")
    for name, value in _rows(known):
        table.add_row(name, harmless(value))
    console().print(table)


_GATEWAYS, _WATCHING, _KEPT, _LAST = "gateways", "watching", "kept", "last"


async def _read(redis: Redis, execution_id: str) -> dict[str, str]:
    """The fields of `meta`, the length and last event of history, how many gateways run, and who
    watches."""
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.hgetall(meta_key(execution_id))
        pipeline.xlen(events_key(execution_id))
        pipeline.xrevrange(events_key(execution_id), count=1)
        pipeline.hgetall(presence.KEY)
        fields, kept, last, gateways = await pipeline.execute(raise_on_error=False)
    if isinstance(fields, Exception):
        raise fields
    known = {_text(name): _text(value) for name, value in fields.items()}
    # The others may be of a foreign kind, or not allowed to this user.
    if isinstance(kept, int):
        known[_KEPT] = str(kept)
    if isinstance(last, list) and last:
        known[_LAST] = _text(last[0][1].get(b"event", b""))
    if isinstance(gateways, dict):
        written = {_text(name): presence.read_document(one)[0] for name, one in gateways.items()}
        oldest = time.time() - presence.FRESH_SECONDS
        running = [name for name, at in written.items() if at > oldest]
        known[_GATEWAYS] = str(len(running))
        known[_WATCHING] = await _watching(redis, execution_id, running)
    return known


async def _watching(redis: Redis, execution_id: str, gateways: Sequence[str]) -> str:
    """How many streams the execution has, as a row shows it."""
    async with redis.pipeline(transaction=False) as pipeline:
        for name in gateways:
            pipeline.hget(watching_key(name), execution_id)
        answers = await pipeline.execute(raise_on_error=False) if gateways else []
    counts = [int(one) for one in answers if isinstance(one, bytes) and one.isdigit()]
    if not counts:
        return "no stream"
    streams, where = sum(counts), len(counts)
    return f"{streams} stream{'s' * (streams > 1)} at {where} gateway{'s' * (where > 1)}"


def _rows(known: dict[str, str]) -> Iterator[tuple[str, str]]:
    """What is known, in the order in which one asks for it."""
    last = parse_object(known.get(_LAST, "").encode())
    yield "Organization", known["organization_id"]
    if workflow := known.get("workflow_id"):
        yield "Workflow", workflow
    yield "Status", _status(known, str(last.get("type") or ""))
    events = f"{known.get(_KEPT, '0')} kept"
    if (seq := known.get("seq")) and seq != known.get(_KEPT):
        events += f", {seq} published since the history began"
    yield "Events", events
    first = known.get("first", "").partition(" ")[2]
    for name, value in (("First event", first), ("Last event", str(last.get("timestamp") or ""))):
        if value:
            yield name, value
    if gateways := known.get(_GATEWAYS):
        yield "Watched by", known[_WATCHING]
        yield "Gateways", f"{gateways} on this Redis"
    if dropped := known.get("dropped"):
        yield "Dropped", f"{dropped} messages: {known.get('dropped_reason', 'unknown')}"
    if lost := known.get("runs_lost"):
        yield "Former runs lost", lost


def _status(known: dict[str, str], last_type: str) -> str:
    if event_type := known.get("terminal_type"):
        types = {**STANDARD, event_type: parse_status(known.get("terminal_status"))}
        if last_type == event_type:
            return status_of(event_type, known[_LAST].encode(), types)
        return ending_of_type(event_type, types)
    if known.get(_KEPT, "0") == "0":
        return "no event yet"
    return "paused" if last_type == "execution:paused" else "running"


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
