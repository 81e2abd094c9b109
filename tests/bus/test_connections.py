"""Every kind of Redis that REDIS_URL may name: an event of each producer arrives through it."""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from gateway.cli.main import cli
from gateway.contract.acl import PUBLISHER
from gateway.publisher import Publisher, SyncPublisher
from tests.conftest import StartGateway
from tests.harness.certificates import Pair, make_authority, sign
from tests.harness.redis_process import RedisProcess, SentinelProcess, embedded_server_program
from tests.support import eventually, free_port, producer_message, require

PASSWORD = "hush/hush@hush"
"""Has what a URL must escape."""

AS_URL = quote(PASSWORD, safe="")


class Permit:
    """Starts servers for one test."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self._stack = stack
        self._authority: Pair | None = None

    def start(self, *arguments: str, program: str | None = None) -> RedisProcess:
        return self._started(RedisProcess(*arguments, program=program))

    def start_tls(self, *arguments: str) -> tuple[RedisProcess, int]:
        """A server, and the port at which it speaks TLS; Valkey's wheel does not."""
        port = free_port()
        server = RedisProcess(*self._tls(port), *arguments, program=require("redis-server"))
        return self._started(server), port

    def sentinel(self, master: int, *arguments: str) -> SentinelProcess:
        """A sentinel that watches the port *master* as `events`."""
        sentinel = SentinelProcess(*arguments, program=require("redis-server"))
        self._started(sentinel)
        sentinel.watch("events", master)
        return sentinel

    def tls_sentinel(self, master: int) -> int:
        """The port at which a sentinel speaks TLS with us, as it does with its *master*."""
        port = free_port()
        self.sentinel(master, *self._tls(port), "--tls-replication", "yes")
        return port

    @property
    def authority(self) -> Pair:
        if self._authority is None:
            self._authority = make_authority(self.directory, "authority")
        return self._authority

    def _started(self, server: RedisProcess) -> RedisProcess:
        server.start()
        self._stack.callback(server.clean_up)
        return server

    def _tls(self, port: int) -> list[str]:
        pair = sign(self.authority, f"server-{port}")
        # fmt: off
        return [
            "--tls-port", str(port), "--tls-cert-file", str(pair.certificate),
            "--tls-key-file", str(pair.key),
            "--tls-ca-cert-file", str(self.authority.certificate), "--tls-auth-clients", "optional",
        ]
        # fmt: on


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Permit]:
    with ExitStack() as stack:
        yield Permit(tmp_path, stack)


def of_redis(place: Permit) -> str:
    return place.start(program=require("redis-server")).url


def of_valkey(place: Permit) -> str:
    return place.start(program=embedded_server_program()).url


def of_acl_user(place: Permit) -> str:
    server = place.start()
    server.command("ACL", "SETUSER", "gateway", "on", f">{PASSWORD}", "~sse:*", "&*", "+@all")
    server.command("ACL", "SETUSER", "default", "resetpass")
    return f"redis://gateway:{AS_URL}@127.0.0.1:{server.port}/0"


def of_unix_socket(place: Permit) -> str:
    socket = place.directory / "redis.sock"
    place.start("--unixsocket", str(socket))
    return f"unix://{socket}?db=0"


def of_tls(place: Permit) -> str:
    _, port = place.start_tls()
    return f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={place.authority.certificate}"


def of_tls_as_celery_writes_it(place: Permit) -> str:
    _, port = place.start_tls()
    return f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=CERT_NONE"


def of_client_certificate(place: Permit) -> str:
    _, port = place.start_tls("--tls-auth-clients", "yes")
    client = sign(place.authority, "client")
    return (
        f"rediss://localhost:{port}/0?ssl_ca_certs={place.authority.certificate}"
        f"&ssl_certfile={client.certificate}&ssl_keyfile={client.key}"
    )


def of_sentinel(place: Permit) -> str:
    """All of it with passwords; the first of the sentinels named is not there."""
    master = place.start()
    sentinel = place.sentinel(master.port)
    sentinel.command("SENTINEL", "SET", "events", "auth-pass", PASSWORD)
    sentinel.command("ACL", "SETUSER", "asking", "on", f">{PASSWORD}", "+sentinel|masters", "+ping")
    sentinel.command("ACL", "SETUSER", "default", "off")
    master.command("CONFIG", "SET", "requirepass", PASSWORD)
    return (
        f"redis+sentinel://:{AS_URL}@127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/events/0"
        f"?sentinel_username=asking&sentinel_password={AS_URL}"
    )


def of_tls_sentinel(place: Permit) -> str:
    _, port = place.start_tls()
    return (
        f"rediss+sentinel://127.0.0.1:{place.tls_sentinel(port)}/events"
        f"?ssl_ca_certs={place.authority.certificate}"
    )


KINDS = [
    of_redis,
    of_valkey,
    of_acl_user,
    of_unix_socket,
    of_tls,
    of_tls_as_celery_writes_it,
    of_client_certificate,
    of_sentinel,
    of_tls_sentinel,
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_events_arrive_over_every_kind_of_connection(
    kind: Callable[[Permit], str], place: Permit, start_gateway: StartGateway
) -> None:
    """An event of `Publisher`, one of `SyncPublisher`, one of the command and a bare one reach a
    stream, in order, and the command's own question is answered."""
    url = await asyncio.to_thread(kind, place)
    gateway = await start_gateway(redis_url=url)

    def publish_as_threads_do() -> None:
        with SyncPublisher(url) as publisher:
            publisher.publish("run-1", "second", {})

    async with Publisher(url) as publisher:
        await publisher.register("run-1", "acme")
        reader = await gateway.open("run-1")
        await publisher.publish("run-1", "first", {})
    await asyncio.to_thread(publish_as_threads_do)
    published = await run_command("publish", "run-1", "third", url=url)
    assert published.startswith("Published third")
    await gateway.components.redis.publish("execution:run-1", producer_message("fourth"))
    seen = [await reader.expect(name) for name in ("first", "second", "third", "fourth")]
    assert all(one.id for one in seen)
    assert "acme" in await run_command("status", "run-1", url=url)


def test_tls_connects_once(place: Permit) -> None:
    """A thread's publisher needs one connection, also over TLS 1.3, whose session tickets redis-py
    takes for a connection that is spoilt; with the rights of a publisher and no others."""
    server, port = place.start_tls()
    url = server.url_of(PUBLISHER.name).replace("redis:", "rediss:")
    url = url.replace(str(server.port), str(port))
    url += f"?ssl_ca_certs={place.authority.certificate}"
    before = connections_of(server)
    for _ in range(10):
        with SyncPublisher(url) as publisher:
            publisher.publish("run-1", "step:started", {})
    # The last is the one that asks.
    assert connections_of(server) == before + 10 + 1
    assert server.command("ACL", "LOG") == []


def connections_of(server: RedisProcess) -> int:
    """How many connections *server* has ever taken."""
    stats = server.command("INFO", "stats")
    assert isinstance(stats, dict)
    return int(stats["total_connections_received"])


async def run_command(*words: str, url: str) -> str:
    """What a subcommand prints that has succeeded."""
    ran = await asyncio.to_thread(CliRunner().invoke, cli, words, env={"REDIS_URL": url})
    assert ran.exit_code == 0, ran.output
    return ran.output


def wrong_password(place: Permit) -> str:
    return of_acl_user(place).replace(AS_URL, "a-wrong-one")


def wrong_authority(place: Permit) -> str:
    other = make_authority(place.directory, "other")
    return of_tls(place).replace(str(place.authority.certificate), str(other.certificate))


def no_client_certificate(place: Permit) -> str:
    return of_client_certificate(place).partition("&")[0]


def wrong_master(place: Permit) -> str:
    return of_sentinel(place).replace("/events/", "/another/")


def wrong_sentinel_password(place: Permit) -> str:
    return re.sub("sentinel_password=.*", "sentinel_password=a-wrong-one", of_sentinel(place))


WRONG = [
    (wrong_password, "check the user and password"),
    (wrong_authority, "ssl_ca_certs"),
    (no_client_certificate, "ssl_certfile"),
    (wrong_master, "the master's name"),
    (wrong_sentinel_password, "their password"),
]


@pytest.mark.parametrize(("kind", "remedy"), WRONG, ids=[kind.__name__ for kind, _ in WRONG])
async def test_health_says_what_to_do(
    kind: Callable[[Permit], str],
    remedy: str,
    place: Permit,
    start_gateway: StartGateway,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What keeps the gateway from Redis is named by health with its remedy, and no secret is shown
    there or in the log."""
    url = await asyncio.to_thread(kind, place)
    gateway = await start_gateway(wait=False, ownership="token", redis_url=url)

    async def told() -> bool:
        return remedy in (await gateway.health())[1]["reason"]

    await eventually(told)
    shown = caplog.text + str(await gateway.health())
    assert "subscription is lost" in shown
    assert "a-wrong-one" not in shown
    assert "hush" not in shown
