"""`sse-gateway publish`: one event, as a worker would publish it."""

from datetime import UTC, datetime

import click
import orjson

from gateway.cli.options import execution_argument, prefix_option, redis_option, with_redis
from gateway.contract.keys import channel
from gateway.errors import MessageRefused
from gateway.events.envelope import decode


@click.command(
    epilog="""Example: sse-gateway publish run-42 step:started --data '{"node_type": "email"}'"""
)
@execution_argument
@click.argument("event_type", metavar="TYPE")
@click.option("--data", default="{}", show_default=True, help="The event's data, a JSON object.")
@redis_option
@prefix_option
def publish(
    execution_id: str, event_type: str, data: str, redis_url: str, channel_prefix: str
) -> None:
    """Publish an event of TYPE in execution ID."""
    payload = _envelope(event_type, data)
    listeners = with_redis(
        redis_url,
        lambda redis: redis.publish(channel(channel_prefix, execution_id), payload),
    )
    gateways = "1 listener" if listeners == 1 else f"{listeners} listeners"
    click.echo(f"Published {event_type} in {execution_id}; Redis gave it to {gateways}.")
    if not listeners:
        raise click.ClickException("No gateway is subscribed there: is it running on this Redis?")


def _envelope(event_type: str, data: str) -> bytes:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise click.BadParameter(f"it is not JSON: {error}", param_hint="--data") from None
    if not isinstance(document, dict):
        raise click.BadParameter("it is not a JSON object", param_hint="--data")
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    payload = orjson.dumps({"type": event_type, "data": document, "timestamp": stamp})
    try:
        decode(payload)
    except MessageRefused as refusal:
        raise click.BadParameter(str(refusal), param_hint="TYPE") from None
    return payload
