"""How every command writes to a terminal: nothing that it quotes is obeyed, by the terminal or by
rich.

Commands use neither `print`, nor `click.echo`, nor a `Console` of their own. Lines and words of
strangers inside a table or a `Text` pass `gateway.harmless` where that is put together.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import click
from rich.console import Console

from gateway.harmless import harmless_lines


def echo(text: str, *, err: bool = False) -> None:
    """Write *text* and a line end to standard output, or with *err* to standard error."""
    click.echo(harmless_lines(text), err=err)


def console(*, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """A console that takes text as text: `[red]` and `:smile:` are words."""
    return Console(stderr=stderr, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)


@contextmanager
def harmless_errors() -> Iterator[None]:
    """Shows what click complains of in this block, which quotes what was given.

    Raises:
        Exit: click complained.
    """
    try:
        yield
    except click.ClickException as error:
        words = StringIO()
        error.show(words)
        echo(words.getvalue().rstrip("\n"), err=True)
        raise click.exceptions.Exit(error.exit_code) from None
