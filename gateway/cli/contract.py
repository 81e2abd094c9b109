"""`sse-gateway contract`: how producers in any language call the scripts in Redis."""

import click
import orjson
from rich.table import Table

from gateway.cli.options import prefix_option
from gateway.cli.output import console, echo
from gateway.contract.interface import VERSION, Interface, Parameter, interfaces
from gateway.harmless import harmless

_NAMES = ("register", "publish")


@click.command(
    short_help="Show how any language calls the scripts in Redis.",
    epilog="""\b
Example: sse-gateway contract
Example: sse-gateway contract --script publish
Example: sse-gateway contract --sha publish""",
)
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")
@click.option("--script", type=click.Choice(_NAMES), help="Print the text of this script alone.")
@click.option("--sha", type=click.Choice(_NAMES), help="Print the SHA of this script alone.")
@prefix_option
def contract(as_json: bool, script: str | None, sha: str | None, channel_prefix: str) -> None:
    """Show the scripts that record and publish events: SHA, keys and arguments of each.

    A producer loads a script once (SCRIPT LOAD) and calls it by its SHA (EVALSHA). CONTRACT.md
    has an example. Lists of executions need no script: gateways list each from its first event.
    """
    if sum(map(bool, (as_json, script, sha))) > 1:
        raise click.UsageError("Give one of --json, --script and --sha.")
    known = interfaces(channel_prefix)
    if script is not None:
        # Without the last line end, which `echo` adds: the SHA is of all bytes.
        echo(known[script].script.text.removesuffix("\n"))
    elif sha is not None:
        echo(known[sha].script.sha)
    elif as_json:
        documents = {name: one.document() for name, one in known.items()}
        document = {"version": VERSION, "scripts": documents}
        echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        echo(f"Version {VERSION} of the scripts' interface.")
        for name, one in known.items():
            _print(name, one)


def _print(name: str, interface: Interface) -> None:
    screen = console()
    required = [one for one in interface.keys if not one.optional]
    echo(f"\n{name}: EVALSHA {interface.script.sha} {len(required)} KEYS… ARGV…")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for kind, parameters in (("KEYS", interface.keys), ("ARGV", interface.arguments)):
        for place, one in enumerate(parameters, start=1):
            table.add_row(f"{kind}[{place}]", one.name, harmless(_described(one)))
    screen.print(table)
    echo(f"It answers {interface.answer}.")


def _described(parameter: Parameter) -> str:
    optional = "optional: " if parameter.optional else ""
    value = f"{parameter.value}: " if parameter.value else ""
    return f"{optional}{value}{parameter.meaning}"
