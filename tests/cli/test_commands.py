"""The subcommands that talk to Redis for a moment, and their help."""

import re
import shlex
import subprocess
import sys

import click
import pytest
from redis.asyncio import Redis

from gateway.cli.main import COMMANDS, cli
from tests.conftest import StartGateway
from tests.harness.gateway_process import run
from tests.harness.history import append, ids
from tests.support import SECRET, free_port


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name: str) -> None:
    """Each command's --help shows examples, with words and options that it takes."""
    context = click.Context(cli)
    command = cli.get_command(context, name)
    assert command is not None
    shown = command.get_help(click.Context(command, info_name=name))
    examples = re.findall(r"^ *Example: (.*)$", shown, re.MULTILINE)
    assert examples
    for example in examples:
        words = shlex.split(example)
        before = words.index("sse-gateway")
        assert words[before + 1] == name
        command.make_parser(click.Context(command)).parse_args(words[before + 2 :])


_LOADED = """
import sys
import gateway.cli.{module}
print(*sorted(name for name in sys.modules if name.startswith("gateway.")))
"""


@pytest.mark.parametrize("name", ["register", "revoke", "serve", "status", "token"])
def test_a_command_does_not_import_the_tools(name: str) -> None:
    """They take a second to import, and `status` must answer at once."""
    module = COMMANDS[name]
    script = _LOADED.format(module=module)
    loaded = subprocess.check_output([sys.executable, "-c", script], text=True).split()
    assert f"gateway.cli.{module}" in loaded
    assert [module for module in loaded if module.startswith("gateway.tools")] == []


async def test_list() -> None:
    """`sse-gateway --help` lists all commands, and `--version` the version."""
    _, out, _ = await run("--help")
    assert all(command in out for command in COMMANDS)
    _, out, _ = await run("--version")
    assert "sse-gateway" in out


async def test_register_and_status(redis: Redis, redis_url: str) -> None:
    """`register` says whose an execution is; `status` shows it, and what is missing before."""
    status, out, _ = await run("status", "run-1", REDIS_URL=redis_url)
    assert status == 1
    assert "sse-gateway register run-1" in out
    words = ("register", "run-1", "--organization", "acme", "--workflow", "invoices")
    status, out, _ = await run(*words, REDIS_URL=redis_url)
    assert status == 0, out
    assert await redis.hgetall("sse:{run-1}:meta") == {
        b"organization_id": b"acme",
        b"workflow_id": b"invoices",
    }
    status, out, _ = await run("status", "run-1", REDIS_URL=redis_url)
    assert status == 0
    assert "acme" in out
    assert "invoices" in out


async def test_status_in_full(redis_url: str) -> None:
    """A name that is longer than the terminal is wide is shown to its end."""
    organization = "".join(f"{number:04}" for number in range(50))
    words = ("register", "run-1", "--organization", organization)
    assert (await run(*words, REDIS_URL=redis_url))[0] == 0
    _, out, _ = await run("status", "run-1", REDIS_URL=redis_url, COLUMNS="80")
    assert organization in re.sub(r"\s", "", out)


async def test_register_for_another(redis_url: str) -> None:
    """An execution that belongs to one organization cannot be registered for another."""
    words = ("register", "run-1", "--organization")
    assert (await run(*words, "acme", REDIS_URL=redis_url))[0] == 0
    assert (await run(*words, "acme", REDIS_URL=redis_url))[0] == 0
    status, _, err = await run(*words, "other", REDIS_URL=redis_url)
    assert status == 1
    assert "registered with another organization" in err


@pytest.mark.parametrize(
    "words",
    [
        ("register", "a/b", "--organization", "acme"),
        ("register", "run-1"),
    ],
)
async def test_wrong_usage(words: tuple[str, ...], redis_url: str) -> None:
    """Wrong usage is exit status 2 with a sentence, and publishes nothing."""
    status, _, err = await run(*words, REDIS_URL=redis_url)
    assert status == 2
    assert "Error" in err
    assert "Traceback" not in err


async def test_redis_away() -> None:
    """Without Redis each command says so in a sentence, without the password in the URL."""
    url = f"redis://:hush@127.0.0.1:{free_port()}/0"
    for words in (("status", "a"), ("publish", "a", "b"), ("register", "a", "--organization", "b")):
        status, _, err = await run(*words, REDIS_URL=url)
        assert status == 1
        assert "Redis cannot be reached" in err
        assert "hush" not in err
        assert "Traceback" not in err


async def test_token(start_gateway: StartGateway) -> None:
    """`token` prints a token that opens a stream, and says loudly that it is not for production."""
    gateway = await start_gateway(ownership="token")
    status, out, err = await run("token", "--organization", "acme", GATEWAY_JWT_SECRET=SECRET)
    assert status == 0
    assert err.startswith("NOT FOR PRODUCTION")
    headers = {"Authorization": f"Bearer {out.strip()}", "X-Organization-ID": "acme"}
    async with gateway.session.get(gateway.stream_url("run-1"), headers=headers) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "words", [("token",), ("tail", "run-1"), ("loadtest", "http://127.0.0.1:1")]
)
async def test_short_secret(words: tuple[str, ...]) -> None:
    """A secret that no gateway takes is refused, and not shown."""
    given = (*words, "--organization", "acme", "--secret", "too-short")
    status, out, err = await run(*given)
    assert (status, out) == (2, "")
    assert "32 bytes or more" in err
    assert "too-short" not in err


async def test_restart(redis: Redis, redis_url: str) -> None:
    """`restart` begins a new run, whose first event it names."""
    before = await append(redis, "run-1", "execution:failed")
    status, out, _ = await run("restart", "run-1", "--keep", REDIS_URL=redis_url)
    [first] = await ids(redis, "run-1")
    assert (status, out) == (0, f"run-1 begins again with {first}.\n")
    assert first != str(before)


async def test_forget(redis: Redis, redis_url: str) -> None:
    """`forget` deletes one execution, or those of an organization, and never both."""
    for execution_id in ("run-1", "run-2", "run-3"):
        await run("register", execution_id, "--organization", "acme", REDIS_URL=redis_url)
    status, out, _ = await run("forget", "run-1", REDIS_URL=redis_url)
    assert (status, out) == (0, "run-1 is forgotten.\n")
    status, out, _ = await run("forget", "--organization", "acme", REDIS_URL=redis_url)
    assert (status, out) == (0, "2 executions of acme are forgotten.\n")
    status, _, err = await run("forget", "run-1", "--organization", "acme", REDIS_URL=redis_url)
    assert status == 2
    assert "either" in err


async def test_token_without_secret() -> None:
    """Without a secret `token` says what is missing."""
    status, _, err = await run("token", "--organization", "acme", GATEWAY_JWT_SECRET="")
    assert status == 2
    assert "--secret" in err
