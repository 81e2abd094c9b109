"""The `sse-gateway` command: the list of its subcommands and what they share about failing.

It does nothing itself; each subcommand has a file of its own.
"""

import sys
import traceback
from importlib import import_module
from types import TracebackType
from typing import Any, cast

import click

from gateway import __version__, log
from gateway.cli.output import console, echo, harmless_errors
from gateway.errors import ConfigurationError, GatewayError
from gateway.harmless import harmless_lines

COMMANDS = ("check", "dev", "loadtest", "publish", "register", "revoke", "serve", "status", "tail",
            "token")  # fmt: skip
"""Each stands in a file of its own name, under that name."""


class Commands(click.Group):
    """Imports a subcommand when it is asked for: all of them together take half a second."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Called by click, for the list in `--help`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Called by click; None if there is no such subcommand."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"gateway.cli.{cmd_name}")
        return cast(click.Command, getattr(module, cmd_name))

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Called by click, for the options before the subcommand."""
        with harmless_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Called by click, for the subcommand and its options."""
        with harmless_errors():
            return super().invoke(ctx)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sse-gateway")
def cli() -> None:
    """Let people watch a workflow execution live in the browser.

    Begin with `sse-gateway dev`, which needs nothing else.
    """


def main() -> None:
    """The console script: an error of ours is a sentence and an exit status, never a traceback."""
    sys.excepthook = _show_bug
    # For what libraries have to say; commands that log choose their own form.
    log.configure("text", "warning")
    try:
        cli()
    except ConfigurationError as error:
        _complain("The gateway cannot start with these settings:", *error.mistakes)
        sys.exit(ConfigurationError.EXIT_STATUS)
    except GatewayError as error:
        _complain(str(error))
        sys.exit(1)


def _show_bug(kind: type[BaseException], bug: BaseException, trace: TracebackType | None) -> None:
    # What Python itself would print, of which a stranger may have chosen some words.
    echo("".join(traceback.format_exception(kind, bug, trace)), err=True)


def _complain(first: str, *more: str) -> None:
    screen = console(stderr=True, soft_wrap=True)
    screen.print(harmless_lines(first), style="bold red")
    for line in more:
        screen.print(harmless_lines(f"  - {line}"))


if __name__ == "__main__":
    main()
