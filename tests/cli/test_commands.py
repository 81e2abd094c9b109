"""The subcommands that talk to Redis for a moment, and their help."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from redis.asyncio import Redis

from gateway.cli.main import COMMANDS, cli
from tests.conftest import StartGateway
from tests.harness.gateway_process import COMMAND, environment, run
from tests.harness.history import append, ids
from tests.support import SECRET, eventually, free_port


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
    """`sse-gateway --help` lists all commands, each with a whole sentence, and `--version` the
    version."""
    _, out, _ = await run("--help")
    assert all(command in out for command in COMMANDS)
    assert not re.search(r"^  .*\.\.\.$", out, re.MULTILINE)
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
    lines = [re.split(r" {2,}", line.strip()) for line in out.splitlines()]
    assert lines[:3] == [
        ["Organization", "acme"],
        ["Workflow", "invoices"],
        ["Status", "no event yet"],
    ]


async def test_status_says_how_the_run_is_going(
    start_gateway: StartGateway, redis_url: str
) -> None:
    """`status` shows the run's status, what is kept of it and since when, and how many gateways
    there are; `publish` says where nobody may watch what it published, and not otherwise."""
    gateway = await start_gateway()
    _, _, err = await run("publish", "run-1", "step:started", REDIS_URL=redis_url)
    assert "run-1 is not registered" in err
    await run("register", "run-1", "--organization", "acme", REDIS_URL=redis_url)
    statuses = []
    for event_type, data in (
        ("execution:paused", "{}"),
        ("step:started", "{}"),
        ("execution:completed", '{"status": "failed"}'),
    ):
        words = ("publish", "run-1", event_type, "--data", data)
        code, _, err = await run(*words, REDIS_URL=redis_url)
        assert (code, err) == (0, "")
        _, out, _ = await run("status", "run-1", REDIS_URL=redis_url)
        rows = dict(re.findall(r"^ *(\w[\w ]*?)  +(.*?) *$", out, re.MULTILINE))
        statuses.append(rows["Status"])
    assert statuses == ["paused", "running", "completed"]
    assert rows["Events"] == "4 kept"
    assert rows["First event"] < rows["Last event"]
    await eventually(lambda: gateway.components.presence._written_at)
    _, out, _ = await run("status", "run-1", REDIS_URL=redis_url)
    assert "1 on this Redis" in out


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
        *((command, "--organization", "") for command in ("forget", "token")),
        *((command, "run-1", "--organization", "") for command in ("publish", "register", "tail")),
        # A gateway is not at these, so no time is to be spent on looking for it there.
        ("tail", "run-1", "--organization", "acme", "--url", "127.0.0.1:8080"),
        ("tail", "run-1", "--organization", "acme", "--url", "ftp://127.0.0.1:8080"),
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
    assert (status, out) == (0, "Executions of acme forgotten: 2.\n")
    status, _, err = await run("forget", "run-1", "--organization", "acme", REDIS_URL=redis_url)
    assert status == 2
    assert "either" in err


async def test_status_of_a_forgotten_execution(redis_url: str) -> None:
    """It says so, and not to register it, which is refused."""
    await run("forget", "run-1", REDIS_URL=redis_url)
    status, out, _ = await run("status", "run-1", REDIS_URL=redis_url)
    assert status == 1
    assert out.startswith("run-1 was forgotten, ")
    assert "sse-gateway register" not in out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("words", [("contract", "--json"), ("check", "--settings"), ("--help",)])
def test_output_that_cannot_be_written(words: tuple[str, ...]) -> None:
    """A full disk is a sentence and exit status 1, whatever writes: rich, click or the command."""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*COMMAND, *words], env=environment(), stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith("The output cannot be written: No space left on device.")
    assert ended.stderr.count("\n") == 1


def test_any_encoding(redis_url: str) -> None:
    """What the terminal's encoding does not have is written as an escape, in tables too."""
    given = environment(REDIS_URL=redis_url, PYTHONIOENCODING="latin-1")
    said = []
    for words in (
        ["register", "run-1", "--organization", "a\N{GREEK SMALL LETTER BETA}"],
        ["status", "run-1"],
    ):
        command = [*COMMAND, *words]
        said.append(subprocess.check_output(command, env=given, text=True, encoding="latin-1"))
    assert all("a\\u03b2" in one for one in said)


async def test_token_without_secret() -> None:
    """Without a secret `token` says what is missing."""
    status, _, err = await run("token", "--organization", "acme", GATEWAY_JWT_SECRET="")
    assert status == 2
    assert "--secret" in err


async def test_commands_read_the_settings_of_the_gateway(
    start_gateway: StartGateway, redis_url: str, tmp_path: Path
) -> None:
    """Its file and the directory of its credentials: `token` and `tail` as `register` and `status`
    do, so that nobody has to copy a secret or an address into a command."""
    asked = {"jwt_issuer": "us", "jwt_audience": "them", "organization_claim": "of.tenant"}
    gateway = await start_gateway(**asked, channel_prefix="run:")
    file = tmp_path / "gateway.toml"
    file.write_text("".join(f'{name} = "{value}"\n' for name, value in asked.items()))
    with file.open("a") as more:
        port = gateway.url.rpartition(":")[2]
        more.write(f'channel_prefix = "run:"\nhost = "0.0.0.0"\nport = {port}\n')
    for name, content in (("jwt_secret", SECRET), ("redis_url", redis_url)):
        (tmp_path / name).write_text(content)
    places = {"GATEWAY_CONFIG": str(file), "CREDENTIALS_DIRECTORY": str(tmp_path)}
    places["GATEWAY_PORT"] = ""  # that of the file
    for words in (
        ("register", "run-1", "--organization", "acme"),
        ("publish", "run-1", "execution:completed"),
        ("status", "run-1"),
        ("tail", "run-1", "--organization", "acme"),
    ):
        status, out, err = await run(*words, **places)
        assert status == 0, (words, out, err)
    _, out, _ = await run("token", "--organization", "acme", **places)
    headers = {"Authorization": f"Bearer {out.strip()}", "X-Organization-ID": "acme"}
    async with gateway.session.get(gateway.stream_url("run-1"), headers=headers) as response:
        assert response.status == 200
