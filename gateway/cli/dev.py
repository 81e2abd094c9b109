"""`sse-gateway dev`: everything one needs to see the gateway work, with one command.

Not for production.
"""

import asyncio
import errno
import hashlib
import os
import secrets
import shlex
import socket
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import uvloop
from rich.panel import Panel
from rich.text import Text

from gateway import log
from gateway.cli.main import reporting_errors
from gateway.cli.options import REDIS_OF_TRIALS, config_option
from gateway.cli.output import console
from gateway.harmless import harmless
from gateway.process import raise_file_limit
from gateway.server import stop_signal
from gateway.settings import EMBEDDED_REDIS, Settings, load, variable
from gateway.tools.dev import parts
from gateway.tools.dev.control import token_of
from gateway.tools.dev.engine import DEMO_EXECUTION, ORGANIZATION
from gateway.tools.dev.gateway_process import GatewayEnded, run

_PORTS_TRIED = 50

_REDIS_PORT = 6390

_PASTED_TOKEN_HOURS = 12
"""How long a printed token is valid that is signed with a secret of the user's."""

_UNCHANGED = {"iat": 0, "exp": 4_102_444_800}
"""Claims of a printed token that is the same at each start: it ends with the year 2099."""

_ALWAYS = {
    # Every token may watch every execution, and every page may read.
    "ownership": "token",
    "cors_origins": ("*",),
    "cors_credentials": False,
    # The page needs an address, and its tokens are signed with a secret and name no issuer.
    "page": True,
    "unix_socket": None,
    "admin_port": None,
    "admin_unix_socket": None,
    "jwt_issuers": (),
    "jwt_public_key_file": None,
    "jwks_url": None,
    "jwt_algorithms": (),
    "jwt_issuer": None,
    "jwt_audience": None,
}

_UNLESS_SET = {
    # A developer does not wait for a drain.
    "drain_seconds": 0.2,
    # A line about each request would hide the commands to paste.
    "log_level": "warning",
}


@click.command(
    short_help="Try the gateway: simulated executions, and a page.",
    epilog="Example: sse-gateway dev --port 9000 --pace 3",
)
@config_option
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to listen on, else the next free one.  [default: 8080]",
)
@click.option(
    "--redis-url",
    envvar=REDIS_OF_TRIALS,
    show_envvar=True,
    default=EMBEDDED_REDIS,
    show_default=True,
    help="Redis to use, better given in the environment if it has a password. REDIS_URL is not "
    "used: it may name production's Redis, where no simulated events belong.",
)
@click.option(
    "--engine/--no-engine", default=True, show_default=True, help="Run simulated executions."
)
@click.option(
    "--pace",
    type=click.FloatRange(0, 1000, min_open=True),
    default=1.0,
    show_default=True,
    help="Speed of the simulated executions: 2 is twice as fast.",
)
def dev(config_file: Path | None, engine: bool, pace: float, **given: Any) -> None:
    """Try the gateway: a private Redis, simulated executions and a page that shows them.

    Not for production: every token of this gateway may watch every execution, the page gives a
    token to everybody who opens it, and pages of all origins may read. Other settings are those of
    `serve`.
    """
    own_secret = _own_secret()
    settings = _settings(config_file, given, own_secret)
    log.configure(settings.log_format, settings.log_level)
    raise_file_limit()
    uvloop.run(_run(settings, pace if engine else None, own_secret, given["port"]))


def _own_secret() -> str:
    """A secret that is made once for this user, so that printed commands work after a restart too.

    One that is in the source would let any web page read from `http://127.0.0.1:8080`.
    """
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    file = state / "sse-gateway" / "dev-secret"
    made = secrets.token_hex(32)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), os.fdopen(os.open(file, _CREATE, 0o600), "w") as new:
            new.write(made)
        kept = file.read_text(encoding="ascii")
    except (OSError, ValueError):
        # For this run alone.
        return made
    return kept if len(kept) == len(made) else made


_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY


def _settings(config_file: Path | None, given: dict[str, Any], own_secret: str) -> Settings:
    """This command's own settings, above the user's, above this command's defaults."""
    chosen = _chosen(config_file)
    defaults: dict[str, Any] = dict(_UNLESS_SET)
    if not chosen & {"jwt_secret", "jwt_secret_file"}:
        defaults["jwt_secret"] = own_secret
    overrides = {
        **{name: value for name, value in defaults.items() if name not in chosen},
        **{name: value for name, value in given.items() if value is not None},
        **_ALWAYS,
    }
    settings = load(config_file, **overrides)
    return settings.model_copy(update={"port": _free_port(settings.host, settings.port)})


def _chosen(config_file: Path | None) -> set[str]:
    """Names of the settings that the environment or the file gives."""
    chosen = {field for field in Settings.model_fields if os.environ.get(variable(field))}
    if config_file is not None:
        # `load` reports a file that cannot be read.
        with suppress(OSError, ValueError):
            chosen |= tomllib.loads(config_file.read_text(encoding="utf-8")).keys()
    return chosen


def _free_port(host: str, first: int) -> int:
    """*first*, or the next free port after it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(first, min(first + _PORTS_TRIED, 65536)):
        try:
            socket.create_server((host, port), family=family).close()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
        break
    # The gateway reports other problems of the address when it starts.
    return port


async def _run(
    settings: Settings, pace: float | None, own_secret: str, given_port: int | None
) -> None:
    stopped = stop_signal()
    password = hashlib.sha256(f"redis {own_secret}".encode()).hexdigest()[:48]
    # Who asks for any port may start several at the same moment.
    redis_port = 0 if given_port == 0 else _REDIS_PORT
    async with (
        parts.redis(settings, redis_port, password) as (reachable, restarts),
        parts.simulation(reachable, pace) as engine,
        parts.gateway(reachable, restarts, engine, _GATEWAY) as gateway,
    ):
        _banner(gateway.url, reachable, own_secret, engine is not None)
        if settings.redis_url == EMBEDDED_REDIS and os.environ.get("REDIS_URL"):
            console(stderr=True, soft_wrap=True).print(_NOT_USED, style="yellow")
        waiting = [asyncio.create_task(one) for one in (stopped.wait(), gateway.ended())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if not stopped.is_set():
            raise GatewayEnded("The gateway has ended: see the lines above.")


# Not from the working directory, which may have another `gateway`.
_GATEWAY = (sys.executable, "-P", "-m", "gateway.cli.dev")


def _banner(url: str, settings: Settings, own_secret: str, has_engine: bool) -> None:
    # A line that was wrapped or cut could not be pasted.
    screen = console(soft_wrap=True)
    screen.print()
    screen.print(Panel.fit(Text(f"{url}/", "bold"), padding=(1, 4)))
    what = "simulated executions, and every run of your own" if has_engine else "your own runs"
    screen.print(f"Open it to watch {what}, live.")
    if settings.host not in ("127.0.0.1", "::1", "localhost"):
        warning = "Everybody who can reach this address gets a token and may watch."
        screen.print(warning, style="bold red")
    for purpose, line in _commands(url, settings, own_secret, has_engine).items():
        screen.print(f"\n{purpose}:", style="bold")
        screen.print(f"  {harmless(line)}")
    screen.print(
        "\nFor development only. Ownership: token (any valid token may watch every execution). "
        "CORS: open to every origin, without credentials.\nCtrl-C stops all of it."
    )


_NOT_USED = (
    "REDIS_URL is set, and `dev` does not use it: to watch your own workers, give their Redis with "
    f"--redis-url or {REDIS_OF_TRIALS}, and --no-engine."
)


def _commands(url: str, settings: Settings, own_secret: str, has_engine: bool) -> dict[str, str]:
    execution = DEMO_EXECUTION if has_engine else "my-run"
    is_own = settings.secrets == (own_secret,)
    token = token_of(settings, _PASTED_TOKEN_HOURS * 3600, _UNCHANGED if is_own else None)
    tail = [*_program(), "tail", execution, "--organization", ORGANIZATION, "--url", url]
    stream = f"{url}/api/v1/sse/executions/{execution}/stream"
    headers = (f"Authorization: Bearer {token}", f"X-Organization-ID: {ORGANIZATION}")
    curl = shlex.join(["curl", "-N", "-H", headers[0], "-H", headers[1], stream])
    data = '{"node_id": "hello", "node_type": "email"}'
    # Not --redis-url: other users of this machine read command lines, and the password in them.
    redis_url = f"REDIS_URL={shlex.quote(settings.redis_url)}"
    publish = [*_program(), "publish", execution, "step:started", "--data", data]
    if settings.channel_prefix != Settings.model_fields["channel_prefix"].default:
        publish += ["--channel-prefix", settings.channel_prefix]
    return {
        "Follow an execution in a second terminal": f"SSE_GATEWAY_TOKEN={token} {shlex.join(tail)}",
        "The same, as a browser gets it": curl,
        "Publish an event to it from a third": f"{redis_url} {shlex.join(publish)}",
        "For your own workers": redis_url,
    }


def _program() -> list[str]:
    """The command that started this program, so that it works in any directory."""
    started_as = Path(sys.argv[0])
    if started_as.suffix == ".py":
        return [sys.executable, "-m", "gateway.cli.main"]
    return [str(started_as.absolute())]


if __name__ == "__main__":
    # The gateway's process.
    reporting_errors(run)
