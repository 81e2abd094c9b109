"""`sse-gateway tail`: follow one execution in a terminal, or in a script."""

import asyncio
import sys
from collections.abc import Callable

import click

from gateway.access.tokens import issue
from gateway.cli.options import execution_argument, secret_option, token_option
from gateway.cli.output import console, echo
from gateway.events.ids import parse_id
from gateway.harmless import harmless_json
from gateway.tools.tail.follow import Ended, Follower, Happened, Lost, Update
from gateway.tools.tail.view import View

COMPLETED, FAILED, LOST, ENDED = 0, 1, 3, 4
"""Exit statuses."""


@click.command(epilog="Example: sse-gateway tail run-42 --organization acme --json")
@execution_argument
@click.option(
    "--url", default="http://127.0.0.1:8080", show_default=True, help="Where the gateway is."
)
@click.option("--organization", required=True, help="The organization that the execution is of.")
@token_option
@secret_option()
@click.option("--from", "from_id", metavar="EVENT", help="Begin after this event.")
@click.option("--json", "as_json", is_flag=True, help="One event a line, as it was published.")
@click.option(
    "--give-up-after",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    help="Seconds without a stream after which it counts as lost.",
)
def tail(
    execution_id: str,
    url: str,
    organization: str,
    token: str | None,
    secret: str | None,
    from_id: str | None,
    as_json: bool,
    give_up_after: float,
) -> None:
    """Follow execution ID from its first event to its end.

    Exit status: 0 it completed, 1 it failed or was canceled, 3 it could not be followed to its
    end: the gateway refused, or could not be reached; 4 it ended, and its last event does not say
    how.
    """
    if from_id is not None and parse_id(from_id) is None:
        raise click.BadParameter("it is no event's id, like 1795377945746-3", param_hint="--from")
    headers = _credentials(organization, token, secret)
    follower = Follower(url.rstrip("/"), execution_id, headers, from_id, give_up_after)
    try:
        if as_json:
            status = asyncio.run(_follow(follower, _print))
        else:
            with View(execution_id, console()) as view:
                status = asyncio.run(_follow(follower, view.show))
    except Lost as lost:
        echo(str(lost), err=True)
        sys.exit(LOST)
    sys.exit({"completed": COMPLETED, "ended": ENDED}.get(status, FAILED))


def _credentials(
    organization: str, token: str | None, secret: str | None
) -> Callable[[], dict[str, str]]:
    if not token and not secret:
        raise click.UsageError("Give a token (--token), or the gateway's secret (--secret).")

    def headers() -> dict[str, str]:
        bearer = token or issue(secret or "", organization_id=organization)
        return {"Authorization": f"Bearer {bearer}", "X-Organization-ID": organization}

    return headers


async def _follow(follower: Follower, show: Callable[[Update], None]) -> str:
    async for update in follower.follow():
        show(update)
        if isinstance(update, Ended):
            return update.status
    raise AssertionError("unreachable: following ends with Ended, or raises")


def _print(update: Update) -> None:
    if isinstance(update, Happened):
        body = update.body
        if update.type.startswith("stream:"):
            # The data of these has no type of its own.
            body = b'{"type":"%b",%b' % (update.type.encode(), body[1:])
        echo(harmless_json(body))
