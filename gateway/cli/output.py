"""How every command writes to a terminal: untrusted text controls neither the terminal nor rich.

Commands use neither `print`, nor `click.echo`, nor a `Console` of their own. Untrusted text inside
a table or a `Text` passes `gateway.harmless` where the table or `Text` is made.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING

import click

from gateway.harmless import harmless_lines

if TYPE_CHECKING:
    from rich.console import Console


def echo(text: str, *, err: bool = False) -> None:
    """Write *text* and a line end to standard output, or with *err* to standard error."""
    click.echo(harmless_lines(text), err=err)


def console(*, stderr: bool = False, soft_wrap: bool = False) -> "Console":
    """A console that prints `[red]` and `:smile:` as they are."""
    # Here, since `serve` starts sooner without it.
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)


@contextmanager
def harmless_errors() -> Iterator[None]:
    """Print click's errors, which quote what was given, through `echo`.

    Raises:
        Exit: click raised an error.
    """
    try:
        yield
    except click.ClickException as error:
        text = StringIO()
        error.show(text)
        echo(text.getvalue().rstrip("\n"), err=True)
        raise click.exceptions.Exit(error.exit_code) from None
