"""`sse-gateway tail`: follow executions in a terminal, or in a script."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from gateway.cli.options import (
    ExecutionId,
    GatewayUrl,
    Name,
    claim_option,
    gateway_url,
    secret_option,
    token_option,
    trial_token,
)
from gateway.cli.output import console, echo
from gateway.events.ids import parse_id
from gateway.harmless import harmless_json
from gateway.tools.tail.board import Board
from gateway.tools.tail.follow import Follower, Happened
from gateway.tools.tail.runs import Changed, ListFollower
from gateway.tools.tail.several import Lines, SetFollower
from gateway.tools.tail.stream import Ended, Lost, Stream, Waiting
from gateway.tools.tail.view import View

COMPLETED, FAILED, LOST, ENDED = 0, 1, 3, 4
"""Exit statuses."""

MOST = 50
"""Executions that one stream brings."""

U = TypeVar("U")


@click.command(epilog="Example: sse-gateway tail run-42 --organization acme --json")
@click.argument("execution_ids", metavar="[ID]...", type=ExecutionId(), nargs=-1)
@click.option(
    "--url",
    type=GatewayUrl(),
    default=gateway_url,
    show_default="http://127.0.0.1:8080",
    help="Where the gateway is; by default where its settings say.",
)
@click.option(
    "--organization",
    type=Name(),
    required=True,
    help="The organization that the executions are of.",
)
@token_option
@secret_option()
@claim_option
@click.option("--from", "from_id", metavar="EVENT", help="With one ID: begin after this event.")
@click.option(
    "--status", metavar="STATUS[,...]", help="Without ID: those with this status (running, ...)."
)
@click.option("--workflow-id", metavar="WORKFLOW", help="Without ID: those of this workflow.")
@click.option("--json", "as_json", is_flag=True, help="One event a line, as it was published.")
@click.option(
    "--give-up-after",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    help="Seconds without a stream after which it counts as lost.",
)
def tail(
    execution_ids: tuple[str, ...],
    url: str,
    organization: str,
    token: str | None,
    secret: str | None,
    claim: str,
    from_id: str | None,
    status: str | None,
    workflow_id: str | None,
    as_json: bool,
    give_up_after: float,
) -> None:
    """Follow executions from their first event to their end.

    Several are followed on one stream, to the end of all. Without ID, show the organization's
    executions until Ctrl-C: which of them run, how far they are, and how many watch.

    Exit status: 0 all completed, 1 one failed or was canceled, 3 one could not be followed to its
    end: the gateway refused, or could not be reached; 4 one ended, and its last event does not say
    how.
    """
    filters = {"status": status, "workflow_id": workflow_id}
    _check(execution_ids, from_id, any(one is not None for one in filters.values()))
    stream: dict[str, Any] = {
        "url": url,
        "headers": _credentials(organization, token, secret, claim),
        "give_up_after": give_up_after,
    }
    try:
        if execution_ids:
            ended = _executions(stream, execution_ids, from_id, as_json)
        else:
            given = {name: value for name, value in filters.items() if value is not None}
            ended = _list(ListFollower(**stream, organization=organization, filters=given), as_json)
    except Lost as lost:
        echo(str(lost), err=True)
        sys.exit(LOST)
    sys.exit({"completed": COMPLETED, "ended": ENDED}.get(ended, FAILED))


def _executions(
    stream: dict[str, Any], execution_ids: tuple[str, ...], from_id: str | None, as_json: bool
) -> str:
    """How they have ended, all of them together."""
    if len(execution_ids) > 1:
        followed = SetFollower(**stream, execution_ids=execution_ids)
        return asyncio.run(_follow(followed, _print if as_json else Lines(console()).show))
    [execution_id] = execution_ids
    one = Follower(**stream, execution_id=execution_id, last_event_id=from_id)
    if as_json:
        return asyncio.run(_follow(one, _print))
    with View(execution_id, console()) as view:
        return asyncio.run(_follow(one, view.show))


def _check(execution_ids: tuple[str, ...], from_id: str | None, is_filtered: bool) -> None:
    if len(set(execution_ids)) > MOST:
        raise click.UsageError(f"Give at most {MOST} executions.")
    if execution_ids and is_filtered:
        raise click.UsageError("--status and --workflow-id cannot be used with ID.")
    if from_id is None:
        return
    if len(execution_ids) != 1:
        raise click.UsageError("--from goes with one ID.")
    if parse_id(from_id) is None:
        raise click.BadParameter(
            "it is not the id of an event, like 1795377945746-3", param_hint="--from"
        )


def _credentials(
    organization: str, token: str | None, secret: str | None, claim: str
) -> Callable[[], dict[str, str]]:
    if not token and not secret:
        raise click.UsageError("Give a token (--token), or the gateway's secret (--secret).")

    def headers() -> dict[str, str]:
        bearer = token or trial_token(secret or "", organization_id=organization, claim=claim)
        return {"Authorization": f"Bearer {bearer}", "X-Organization-ID": organization}

    return headers


def _list(follower: ListFollower, as_json: bool) -> str:
    """Show a list until Ctrl-C."""
    try:
        if as_json:
            return asyncio.run(_follow(follower, _print))
        with Board(follower, console()) as board:
            return asyncio.run(_follow(follower, board.show))
    except KeyboardInterrupt:
        # A list has no other end.
        return "completed"


async def _follow(stream: Stream[U], show: Callable[[U | Waiting | Ended], None]) -> str:
    async for update in stream.follow():
        show(update)
        if isinstance(update, Ended):
            return update.status
    raise AssertionError("unreachable: following ends with Ended, or raises")


def _print(update: object) -> None:
    if isinstance(update, Happened | Changed):
        body = update.body
        if isinstance(update, Changed) or update.type.startswith("stream:"):
            # The data of these has no type of its own.
            body = b'{"type":"%b",%b' % (update.type.encode(), body[1:])
        echo(harmless_json(body))
