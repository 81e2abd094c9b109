"""`sse-gateway loadtest`: many browser tabs, each checking that it gets every event in order."""

import asyncio
import math
import signal
import sys
from collections.abc import Coroutine
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import orjson
import uvloop
from click.core import ParameterSource

from gateway.access.tokens import issue
from gateway.cli.options import (
    REDIS_OF_TRIALS,
    Name,
    claim_option,
    prefix_option,
    publish_to_option,
    secret_option,
    token_option,
)
from gateway.cli.output import console, echo
from gateway.errors import GatewayError
from gateway.process import raise_file_limit
from gateway.tools.loadtest import report
from gateway.tools.loadtest.findings import Findings
from gateway.tools.loadtest.page import render
from gateway.tools.loadtest.plan import BadPlan, Plan, Slo, Target, check_report
from gateway.tools.loadtest.private import private_gateway

if TYPE_CHECKING:
    from gateway.tools.loadtest.run import LoadTest

_DEFAULT_EVENTS = 50
_OTHER_FILES = 64
"""File descriptors that the process needs besides one a tab."""

T = TypeVar("T")

_CANCEL_AGAIN = 0.5
"""Seconds after which an interrupted load test that still runs is cancelled again."""

_BARS = 40
"""Of the histogram in the report."""

_FOR_A_URL = frozenset(
    (
        "publish_url", "secret", "token", "organization", "claim", "channel_prefix", "publish_to",
        "insecure",
    )
)  # fmt: skip
_PERCENT = click.FloatRange(0, 100)


def _parse_slos(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> tuple[Slo, ...]:
    try:
        return tuple(Slo.parse(text) for text in given)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(
    short_help="Open many tabs at a gateway, and count what is lost.",
    epilog="\b\nExample: sse-gateway loadtest http://127.0.0.1:8080 --publish redis://localhost:6379/0",
)
@click.argument("url", required=False)
@click.option(
    "--tabs", type=click.IntRange(1), default=1000, show_default=True, help="Streams to open."
)
@click.option(
    "--executions",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="Executions that the tabs are spread over evenly.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=500.0,
    show_default=True,
    help="Events published per second, all executions together; each goes to all tabs of its "
    "execution.",
)
@click.option(
    "--events",
    type=click.IntRange(1),
    help=f"Events per execution, the last one ends it.  [default: {_DEFAULT_EVENTS}]",
)
@click.option(
    "--duration",
    type=click.FloatRange(0, min_open=True),
    help="Seconds of publishing, instead of --events.",
)
@click.option(
    "--publish",
    "publish_url",
    envvar=REDIS_OF_TRIALS,
    show_envvar=True,
    metavar="REDIS_URL",
    help="Redis that URL listens on; better given in the environment if it has a password.",
)
@secret_option()
@token_option
@click.option(
    "--organization",
    type=Name(),
    metavar="ORG",
    help="Organization that the executions are registered for; with --token, one that it names.  "
    "[default: loadtest]",
)
@claim_option
@prefix_option
@publish_to_option
@click.option("--insecure", is_flag=True, help="Do not verify the certificate of an https URL.")
@click.option(
    "--patience",
    "idle_timeout",
    type=click.FloatRange(0, min_open=True),
    default=20.0,
    show_default=True,
    help="Seconds without any event after which the test ends.",
)
@click.option(
    "--ramp-up",
    type=click.FloatRange(0),
    default=0.0,
    help="Seconds over which the tabs open.  [default: as fast as they can]",
)
@click.option("--slow", type=_PERCENT, default=0, help="Percent of tabs that read now and then.")
@click.option("--frozen", type=_PERCENT, default=0, help="Percent of tabs that never read.")
@click.option(
    "--reload",
    type=_PERCENT,
    default=0,
    help="Percent of the other tabs that reload their page, each at a random moment.",
)
@click.option("--storm", is_flag=True, help="Drop all tabs at once, halfway through.")
@click.option(
    "--slo",
    "slos",
    multiple=True,
    metavar="FIGURE=TIME",
    callback=_parse_slos,
    help="Fail if p50, p95, p99 or max of the latency, or `first` (p99 of the time to the first "
    "event), is more: p99=250ms. May be given again.",
)
@click.option(
    "--report",
    "report_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write a self-contained page with plots.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
@click.pass_context
def loadtest(
    ctx: click.Context,
    /,
    url: str | None,
    as_json: bool,
    report_file: Path | None,
    **given: Any,
) -> None:
    """Open many tabs at the gateway at URL and check what each of them gets.

    Opens the tabs, publishes numbered events as workers do, and checks in every tab that each of
    its execution's events came once, in order, and then the end. Without URL it starts its own
    gateway and Redis. Latencies count from PUBLISH to the tab, this process's share included.

    A tab reconnects as an EventSource does: with its last id, after the time that `retry:` named.

    Exit status 0 if all was well; 1 if a tab did not open or end, or an event was lost, duplicated,
    out of order or another execution's, or an objective (--slo) was missed; 2 if the options are
    wrong.
    """
    if find_spec("httptools") is None:
        raise GatewayError("The load test needs httptools: pip install 'sse-gateway[loadtest]'.")
    if url is None:
        _refuse_options_of_a_url(ctx)
    try:
        if report_file is not None:
            check_report(report_file)
        plan = _plan(given)
        target = None if url is None else _target(url, plan, given)
    except BadPlan as error:
        raise click.UsageError(str(error)) from None
    test, findings = uvloop.run(_until_interrupted(_run(plan, target)))
    if as_json:
        echo(orjson.dumps(findings, option=orjson.OPT_INDENT_2).decode())
    else:
        report.show(findings, console())
    # After the findings: the disk may have become full.
    if report_file is not None:
        histogram = test.ledger.timeline.total.histogram(_BARS)
        report_file.write_text(render(findings, plan, url, histogram), encoding="utf-8")
    sys.exit(0 if findings.ok else 1)


async def _until_interrupted(work: Coroutine[Any, Any, T]) -> T:
    """The result of *work*, which Ctrl-C cancels.

    Raises:
        click.Abort: it was interrupted, and has cleaned up.
    """
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    task, interruption = asyncio.ensure_future(work), asyncio.ensure_future(interrupted.wait())
    await asyncio.wait([task, interruption], return_when=asyncio.FIRST_COMPLETED)
    interruption.cancel()
    if not interrupted.is_set():
        return await task
    while not task.done():
        task.cancel()
        # Once is not enough: a library that is connecting may swallow a cancellation.
        await asyncio.wait([task], timeout=_CANCEL_AGAIN)
    raise click.Abort


async def _run(plan: Plan, target: Target | None) -> tuple["LoadTest", Findings]:
    # Not at the top: it needs httptools, and `--help` must work without.
    from gateway.tools.loadtest.run import LoadTest

    if target is None:
        async with private_gateway(plan.lifetime) as target:
            return await _run(plan, target)
    screen = console(stderr=True)
    test = LoadTest(target, plan, report.lines(screen))
    with report.progress(test, screen):
        return test, await test.run()


def _plan(given: dict[str, Any]) -> Plan:
    """The plan, if this process may open that many connections."""
    if given["events"] and given["duration"]:
        raise BadPlan("Give either --events or --duration.")
    events = given["events"] or _DEFAULT_EVENTS
    if given["duration"]:
        events = math.ceil(given["duration"] * given["rate"] / given["executions"])
    if given["slow"] + given["frozen"] > 100:
        raise BadPlan("--slow and --frozen are more than all tabs together.")
    limit, tabs = raise_file_limit(), given["tabs"]
    if tabs + _OTHER_FILES > limit:
        raise BadPlan(
            f"{tabs} tabs need {tabs + _OTHER_FILES} open files and {limit} are allowed: raise the "
            "hard limit (`ulimit -Hn`), or ask for fewer tabs."
        )
    shares = {name: given[name] / 100 for name in ("slow", "frozen", "reload")}
    others = ("tabs", "executions", "rate", "idle_timeout", "ramp_up", "storm", "slos")
    return Plan(events=events, **shares, **{name: given[name] for name in others})


def _target(url: str, plan: Plan, given: dict[str, Any]) -> Target:
    """The gateway at *url*, with a token for it."""
    organization, token = given["organization"], given["token"]
    if not given["publish_url"]:
        raise BadPlan(
            f"Name the Redis that the gateway at URL listens on: --publish or {REDIS_OF_TRIALS}."
        )
    if token and not organization:
        raise BadPlan("Name the organization that the token is for: --organization.")
    if not token:
        if not given["secret"]:
            raise BadPlan("The gateway at URL needs a token: give --secret or --token.")
        organization = organization or "loadtest"
        token = issue(
            given["secret"],
            organization_id=organization,
            ttl_seconds=int(plan.lifetime),
            claim=given["claim"],
        )
    return Target(
        url=url,
        publish_url=given["publish_url"],
        organization=organization,
        token=token,
        channel_prefix=given["channel_prefix"],
        publish_to=given["publish_to"] or "pattern",
        insecure=given["insecure"],
    )


def _refuse_options_of_a_url(ctx: click.Context) -> None:
    """Refuse options that would do nothing: the user expects something else."""
    for option in ctx.command.params:
        source = ctx.get_parameter_source(option.name or "")
        if option.name in _FOR_A_URL and source is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"{option.opts[0]} is for a gateway that already runs: give its URL too."
            )
