"""The `sse-gateway` command: the list of its subcommands and what they share about failing.

It does nothing itself; each subcommand has a file of its own.
"""

import sys

import click
from rich.console import Console

from gateway import __version__
from gateway.cli.check import check
from gateway.cli.dev import dev
from gateway.cli.loadtest import loadtest
from gateway.cli.publish import publish
from gateway.cli.register import register
from gateway.cli.revoke import revoke
from gateway.cli.serve import serve
from gateway.cli.status import status
from gateway.cli.tail import tail
from gateway.cli.token import token
from gateway.errors import ConfigurationError, GatewayError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sse-gateway")
def cli() -> None:
    """Let people watch a workflow execution live in the browser.

    Begin with `sse-gateway dev`, which needs nothing else.
    """


for command in (dev, serve, check, register, revoke, status, publish, tail, token, loadtest):
    cli.add_command(command)


def main() -> None:
    """The console script: an error of ours is a sentence and an exit status, never a traceback."""
    try:
        cli()
    except ConfigurationError as error:
        _complain("The gateway cannot start with these settings:", *error.mistakes)
        sys.exit(ConfigurationError.EXIT_STATUS)
    except GatewayError as error:
        _complain(str(error))
        sys.exit(1)


def _complain(first: str, *more: str) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    console.print(first, style="bold red")
    for line in more:
        console.print(f"  - {line}")


if __name__ == "__main__":
    main()
