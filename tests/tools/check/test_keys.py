"""`sse-gateway check` of keys, addresses and settings: what is wrong is found, with a remedy."""

import asyncio
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.check import names_a_database
from gateway.errors import CannotListen
from gateway.listener import listen
from gateway.settings import Settings, variable
from gateway.tools.check.configuration import STOP_TIMEOUT, check_tokens
from gateway.tools.check.finding import Level, shown
from gateway.tools.check.machine import check_addresses
from tests.access.jwks_server import start_issuer
from tests.conftest import MakeSettings, StartGateway
from tests.harness.gateway_process import run
from tests.harness.redis_process import RedisProcess
from tests.support import SECRET, free_port

UNIT = Path(__file__).parents[3] / "systemd" / "sse-gateway.service"


async def test_published_keys(aiohttp_server: Any, make_settings: MakeSettings) -> None:
    """Keys are fetched from where the issuer publishes them: usable, for another algorithm only,
    or not to be had."""
    issuer = await start_issuer(aiohttp_server)
    given: dict[str, Any] = {"jwt_secret": None, "jwks_url": issuer.url}

    async def found(*algorithms: str) -> list[tuple[str, str]]:
        settings = make_settings(**given, jwt_algorithms=algorithms)
        return [(one.level, one.sentence) for one in await check_tokens(settings, None)]

    [(level, _)] = await found("RS256")
    assert level == "ok"
    [(level, sentence)] = await found("ES256")
    assert (level, "no key for ES256" in sentence) == ("error", True)
    levels = [level for level, _ in await found("RS256", "ES256")]
    assert levels == ["ok", "note"]
    issuer.fail(502)
    [(level, sentence)] = await found("RS256")
    assert (level, "502" in sentence) == ("error", True)


async def test_pem(make_settings: MakeSettings, tmp_path: Path) -> None:
    """A file without a key is found."""
    file = tmp_path / "key.pem"
    file.write_text("nothing")
    settings = make_settings(jwt_secret=None, jwt_public_key_file=file, jwt_algorithms=("RS256",))
    [finding] = await check_tokens(settings, None)
    assert finding.level is Level.ERROR
    assert "GATEWAY_JWT_PUBLIC_KEY_FILE" in finding.sentence


@pytest.mark.parametrize(("mode", "levels"), [(0o600, ["ok"]), (0o644, ["ok", "warning"])])
async def test_open_file(
    make_settings: MakeSettings, tmp_path: Path, mode: int, levels: list[str]
) -> None:
    """A secret that everybody on the machine can read is a warning."""
    file = tmp_path / "secret"
    file.write_text(SECRET)
    file.chmod(mode)
    findings = await check_tokens(make_settings(jwt_secret=None, jwt_secret_file=file), None)
    assert [one.level for one in findings] == levels


@pytest.mark.parametrize(
    ("line", "levels"),
    [
        ('redis_url = "redis://user:hush@localhost:6379/0"', ["ok", "warning"]),
        ("'jwt_secret' = 'hush'", ["ok", "warning"]),
        ('redis_url = "redis://localhost:6379/0"', ["ok"]),
    ],
)
async def test_open_settings(
    make_settings: MakeSettings, tmp_path: Path, line: str, levels: list[str]
) -> None:
    """So is one in the settings themselves, which are for everybody to read."""
    file = tmp_path / "gateway.toml"
    file.write_text(line)
    file.chmod(0o644)
    assert [one.level for one in await check_tokens(make_settings(), file)] == levels


async def test_offline_contacts_nothing() -> None:
    """It needs no Redis, and takes no URL; wrong settings end it with status 78."""
    away = f"redis://127.0.0.1:{free_port()}/0"
    assert (await run("check", "--offline", REDIS_URL=away))[0] == 0
    assert (await run("check", "--offline", "http://127.0.0.1:1", REDIS_URL=away))[0] == 2
    assert (await run("check", "--offline", GATEWAY_LOG_LEVEL="lowd"))[0] == 78


async def test_full_queue(make_settings: MakeSettings, tmp_path: Path) -> None:
    """Behind a unix socket whose owner hangs, so that nobody can connect, it is still another
    program's: found by the check, and refused at once by a gateway that is started."""
    settings = make_settings(unix_socket=tmp_path / "gateway.sock")
    with socket.socket(socket.AF_UNIX) as hanging, socket.socket(socket.AF_UNIX) as waiting:
        hanging.bind(str(settings.unix_socket))
        hanging.listen(0)
        waiting.connect(str(settings.unix_socket))
        with pytest.raises(CannotListen, match="already listens"):
            await asyncio.wait_for(asyncio.to_thread(listen, settings), 2)
        assert (await check_addresses(settings))[0].level is Level.ERROR


async def test_addresses(
    start_gateway: StartGateway, make_settings: MakeSettings, redis_server: RedisProcess
) -> None:
    """An address may be free, a gateway's already, or another program's; a directory may be
    missing."""
    gateway = await start_gateway()
    port = int(gateway.url.rpartition(":")[2])

    async def first(**given: Any) -> tuple[str, str]:
        finding = (await check_addresses(make_settings(**given)))[0]
        return finding.level, finding.sentence

    assert (await first(port=port))[0] == "ok"
    assert "already" in (await first(port=port))[1]
    level, sentence = await first(port=redis_server.port)
    assert (level, "Another program" in sentence) == ("error", True)
    level, sentence = await first(unix_socket=Path("/nonexistent/gateway.sock"))
    assert (level, "no directory" in sentence) == ("error", True)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"unix_socket": Path(__file__)}, "no socket"),
        # Asks no name server.
        ({"host": "::zz"}, "not known"),
        ({"unix_socket": Path(f"/tmp/{'x' * 120}")}, "too long"),
    ],
)
async def test_no_address(make_settings: MakeSettings, given: dict[str, Any], words: str) -> None:
    """A host that has no address, a path that is too long for a socket, or one of a file, is found;
    the gateway says as much when it is started."""
    settings = make_settings(**given)
    finding = (await check_addresses(settings))[0]
    assert finding.level is Level.ERROR
    assert words in finding.sentence
    with pytest.raises(CannotListen, match=words):
        listen(settings)


def test_stop_timeout() -> None:
    """The unit gives the time to stop that drains are measured by."""
    found = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert found is not None
    assert int(found[1]) == STOP_TIMEOUT


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hush@localhost:6379/0",
        "redis://:hush@localhost:6379/0",
        "redis+sentinel://user:hush@a:1,b:2/mymaster/0",
        "rediss://localhost:6379/0?password=hush",
        "redis+sentinel://a:1/mymaster/0?sentinel_password=hush&x=1",
    ],
)
def test_passwords(url: str) -> None:
    """No password in a URL is shown, wherever it stands; the host is."""
    assert "hush" in url
    assert "hush" not in shown(url)
    assert ("localhost" in shown(url)) or ("a:1" in shown(url))


async def test_sources(tmp_path: Path) -> None:
    """`--settings` says of each setting where its value comes from: environment over file over
    default."""
    file = tmp_path / "gateway.toml"
    file.write_text("queue_events = 77\nport = 1234\n")
    status, out, _ = await run(
        "check", "--settings", "--config", str(file), COLUMNS="300", GATEWAY_PORT="4321"
    )
    assert status == 0
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert rows["GATEWAY_PORT"][1:3] == ["4321", "environment"]
    assert rows["GATEWAY_QUEUE_EVENTS"][1:3] == ["77", str(file)]
    assert rows["GATEWAY_HEARTBEAT_SECONDS"][1:3] == ["15.0", "default"]


async def test_narrow_terminal(tmp_path: Path) -> None:
    """In a pipe or a terminal of 80 columns each setting stands under its whole name, neither a
    value nor a finding is cut, and what a setting means is not broken after each word."""
    file = tmp_path / f"{'long' * 20}.toml"
    file.write_text(f'jwt_secret = "{SECRET}"\nadmin_unix_socket = "/{"x" * 50}/{"y" * 50}"\n')
    file.chmod(0o644)
    given = {"COLUMNS": "80", "GATEWAY_JWT_SECRET": "", "GATEWAY_ADMIN_PORT": ""}
    _, out, _ = await run("check", "--settings", "--config", str(file), **given)
    names = {line.split()[0] for line in out.splitlines() if line.strip()}
    assert names >= {variable(name) for name in Settings.model_fields}
    assert min(out.count("x"), out.count("y")) >= 50
    short = [field.description or "" for field in Settings.model_fields.values()]
    assert {f"    {text}" for text in short if len(text) < 70} <= set(
        map(str.rstrip, out.splitlines())
    )
    assert "\N{HORIZONTAL ELLIPSIS}" not in out

    _, out, _ = await run("check", "--config", str(file), **given)
    assert file.name in re.sub(r"\s", "", out)
    assert "\N{HORIZONTAL ELLIPSIS}" not in out


async def test_acl_by_file(tmp_path: Path) -> None:
    """`--acl` goes by the channel prefix and the database of a file that has no key yet."""
    file = tmp_path / "gateway.toml"
    file.write_text('channel_prefix = "x:"\nredis_url = "redis://localhost:6379/3"\n')
    status, out, _ = await run("check", "--acl", "--config", str(file), GATEWAY_JWT_SECRET="")
    assert status == 0
    assert "&x:*" in out
    assert "+select" in out
    assert "+select" not in (await run("check", "--acl"))[1]


async def test_credentials_of_systemd(tmp_path: Path) -> None:
    """A URL that lies in a file, as the README has it, counts for `--acl` as one in the settings
    does, and `--settings` says that it is systemd's."""
    (tmp_path / "redis_url").write_text("redis://localhost:6379/3\n")
    given = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert "+select" in (await run("check", "--acl", **given))[1]
    by_file = {"GATEWAY_REDIS_URL_FILE": str(tmp_path / "redis_url")}
    assert "+select" in (await run("check", "--acl", **by_file))[1]

    _, out, _ = await run("check", "--settings", COLUMNS="300", **given)
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert rows["GATEWAY_REDIS_URL_FILE"][1:3] == [str(tmp_path / "redis_url"), "systemd"]


@pytest.mark.parametrize(
    ("url", "selects"),
    [
        ("redis://localhost:6379/0", False),
        ("redis://localhost:6379", False),
        ("redis://localhost:6379/2", True),
        ("redis://localhost:6379?db=2", True),
        ("unix:///run/redis/6379", False),
        ("unix:///run/redis/redis.sock?db=1", True),
        ("redis+sentinel://a:1,b:2/mymaster/1", True),
        ("", False),
    ],
)
def test_database(url: str, selects: bool) -> None:
    """Whether a URL names another database than 0, in every way that one can."""
    assert names_a_database(url) is selects
