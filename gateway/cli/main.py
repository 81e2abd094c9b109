"""The `sse-gateway` command: its subcommands, and how each of them reports errors."""

import errno
import gc
import io
import os
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from types import TracebackType
from typing import Any, cast

import click

from gateway import __version__, log
from gateway.cli.output import console, echo, harmless_errors
from gateway.errors import ConfigurationError, GatewayError
from gateway.harmless import harmless_lines

COMMANDS = {
    "check": "check",
    "contract": "contract",
    "dev": "dev",
    "forget": "runs",
    "loadtest": "loadtest",
    "publish": "publish",
    "recorder": "serve",
    "register": "registry",
    "restart": "runs",
    "revoke": "access",
    "serve": "serve",
    "status": "registry",
    "tail": "tail",
    "token": "access",
}
"""The module of `gateway.cli` that has each subcommand, under the subcommand's name."""


class Commands(click.Group):
    """Imports a subcommand only when it is needed: importing all of them takes half a second."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        # Nearly all that an import makes stays: collections, each over all of it, would take a
        # fifth of a start.
        gc.disable()
        try:
            module = import_module(f"gateway.cli.{COMMANDS[cmd_name]}")
        finally:
            gc.freeze()
            gc.enable()
        return cast(click.Command, getattr(module, cmd_name))

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with harmless_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with harmless_errors():
            return super().invoke(ctx)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sse-gateway")
def cli() -> None:
    """Watch a workflow execution live in the browser.

    Try `sse-gateway dev` first: it needs nothing else.
    """


def main() -> None:
    """The console script."""
    reporting_errors(cli)


def reporting_errors(program: Callable[[], None]) -> None:
    """Run *program*: a `GatewayError` becomes a sentence and an exit status."""
    sys.excepthook = _show_bug
    # pydantic would look for plugins in every package that is installed.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # For what libraries log; commands that log themselves configure it again.
    log.configure("text", "warning")
    _write_whatever_the_encoding()
    try:
        program()
    except ConfigurationError as error:
        _print_error("The gateway cannot start with these settings:", *error.mistakes)
        sys.exit(ConfigurationError.EXIT_STATUS)
    except GatewayError as error:
        _print_error(str(error))
        sys.exit(1)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        _print_error(
            f"The output cannot be written: {error.strerror}. Make room, or write elsewhere."
        )
        # Else Python would try once more to write what is left, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


_NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def _write_whatever_the_encoding() -> None:
    """A character that the terminal's encoding does not have is written as an escape."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _show_bug(kind: type[BaseException], bug: BaseException, trace: TracebackType | None) -> None:
    # As Python prints it, but escaped: it may quote untrusted text.
    echo("".join(traceback.format_exception(kind, bug, trace)), err=True)


def _print_error(first: str, *more: str) -> None:
    screen = console(stderr=True, soft_wrap=True)
    screen.print(harmless_lines(first), style="bold red")
    for line in more:
        screen.print(harmless_lines(f"  - {line}"))


if __name__ == "__main__":
    main()
