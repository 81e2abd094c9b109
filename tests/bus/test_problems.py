"""Each error of Redis has a code, a sentence and a remedy; here real servers give every one."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from gateway.bus.connection import create_redis
from gateway.bus.errors import PROBLEMS, REDIS_ERRORS, code_of
from tests.harness.certificates import make_authority, sign
from tests.harness.redis_process import PASSWORD, RedisProcess
from tests.support import eventually, free_port

StartRedis = Callable[..., RedisProcess]
ENDLESS = "while true do end"
SETS = "return redis.call('SET', KEYS[1], 'x')"


async def answer(url: str, *words: str, timeout: float = 3.0) -> Any:
    """What Redis answers, or the error that the gateway's client raises."""
    async with create_redis(url, max_connections=1, answer_timeout=timeout) as client:
        try:
            return await client.execute_command(*words)
        except REDIS_ERRORS as error:
            return error


async def code(url: str, *words: str, timeout: float = 3.0) -> str:
    """The code of the error for these *words*."""
    error = await answer(url, *words, timeout=timeout)
    assert isinstance(error, Exception), f"{words}: {error}"
    return code_of(error)


@pytest.fixture
def server(redis_process: StartRedis, tmp_path: Path) -> RedisProcess:
    """One that can be set to refuse: it saves into a file whose name is taken by a directory."""
    saving = ("--dir", str(tmp_path), "--dbfilename", "taken", "--save", "1000000 1")
    authority = make_authority(tmp_path, "authority")
    pair = sign(authority, "redis")
    # fmt: off
    tls = (
        # In the handshake of later versions the client learns nothing of its missing certificate.
        "--tls-protocols", "TLSv1.2", "--tls-ca-cert-file", str(authority.certificate),
        "--tls-cert-file", str(pair.certificate), "--tls-key-file", str(pair.key),
    )
    # fmt: on
    process = redis_process(*saving, *tls)
    (tmp_path / "taken" / "full").mkdir(parents=True)
    return process


@pytest.fixture
def nodes(redis_process: StartRedis) -> tuple[RedisProcess, RedisProcess]:
    """Two nodes of a cluster, whose slots nobody has yet."""
    first, second = (redis_process("--cluster-enabled", "yes") for _ in range(2))
    return first, second


def configure(server: RedisProcess, **settings: str) -> None:
    for name, value in settings.items():
        server.command("CONFIG", "SET", name.replace("_", "-"), value)


async def refusals(server: RedisProcess) -> set[str]:
    """The codes of a server that answers and refuses."""
    url, found = server.url, set()

    async def refuses(*words: str, as_user: str = url, **settings: str) -> None:
        configure(server, **settings)
        found.add(await code(as_user, *words))
        configure(server, **dict.fromkeys(settings, "0"))

    script = ("EVAL", SETS, "1", "key")
    for words in (("SET", "key", "x"), script):
        # In a script, servers differ in where the code is.
        for settings in ({"maxmemory": "1"}, {"min_replicas_to_write": "1"}):
            await refuses(*words, **settings)
    server.command("ACL", "SETUSER", "few", "on", f">{PASSWORD}", "+eval", "~key")
    for words in (("SET", "key", "x"), script):
        assert await code(server.url_of("few"), *words) == "NOPERM"
    found.add("NOPERM")
    await refuses("TIME", as_user=server.url_of("nobody"))
    await refuses("TIME", as_user=url.replace("//", "//:a-password-that-nobody-set@"))
    await refuses("EVALSHA", "0" * 40, "0")
    await refuses("NO-SUCH-COMMAND")
    await refuses("TIME", as_user=url.removesuffix("/0") + "/99")
    server.command("SET", "key", "x")
    await refuses("LLEN", "key")
    await refuses("EVAL", "error('FOREIGN no event')", "0")
    return found


async def disk_and_load(server: RedisProcess) -> set[str]:
    """The codes of a server that cannot save, has no connection left, or runs a script."""
    url, found = server.url, set()
    server.command("BGSAVE")
    await eventually(lambda: b"err" in _info(server, "rdb_last_bgsave_status"))
    found.add(await code(url, "SET", "key", "x"))
    configure(server, stop_writes_on_bgsave_error="no")
    async with Redis.from_url(url) as other:
        await other.ping()
        configure(server, busy_reply_threshold="1")
        endless = asyncio.ensure_future(answer(url, "EVAL", ENDLESS, "0"))

        async def is_busy() -> bool:
            error = await answer(url, "TIME")
            found.update([code_of(error)] if isinstance(error, Exception) else [])
            return isinstance(error, Exception)

        await eventually(is_busy)
        await other.script_kill()
        await endless
        configure(server, maxclients="1")
        found.add(await code(url, "TIME"))
        await other.config_set("maxclients", 100)
    return found


def _info(server: RedisProcess, name: str) -> bytes:
    info = server.command("INFO")
    assert isinstance(info, dict)
    return str(info[name]).encode()


async def as_replica(server: RedisProcess) -> set[str]:
    server.command("REPLICAOF", "127.0.0.1", "1")
    found = {
        await code(server.url, "SET", "key", "x"),
        await code(server.url, "EVAL", SETS, "1", "k"),
    }
    assert found == {"READONLY"}
    configure(server, replica_serve_stale_data="no")
    found.add(await code(server.url, "GET", "key"))
    server.command("REPLICAOF", "NO", "ONE")
    return found


async def without_password(server: RedisProcess) -> set[str]:
    """Also where a long command is the first one: Redis then says something else."""
    configure(server, requirepass="secret")
    try:
        found = {await code(server.url, "TIME"), await code(server.url, "EVAL", " " * 20_000, "0")}
    finally:
        await answer(server.url.replace("//", "//:secret@"), "CONFIG", "SET", "requirepass", "")
    assert found == {"NOAUTH"}
    return found


async def while_loading(server: RedisProcess) -> set[str]:
    """A server that reads thousands of keys, each with a pause."""
    server.command("EVAL", "for i = 1, 3000 do redis.call('SET', i, i) end", "0")
    reload = asyncio.ensure_future(answer(server.url, "DEBUG", "RELOAD"))
    error = await eventually(lambda: refused_by(server.url))
    await reload
    return {code_of(error)}


async def refused_by(url: str) -> Exception | None:
    error = await answer(url, "GET", "key")
    return error if isinstance(error, Exception) else None


async def cluster(first: RedisProcess, second: RedisProcess) -> set[str]:
    found = {await code(first.url, "GET", "key")}
    first.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    await eventually(lambda: b"cluster_state:ok" in _raw(first, "CLUSTER", "INFO"))
    found.add(await code(first.url, "MGET", "a", "b"))
    first.command("CLUSTER", "MEET", "127.0.0.1", str(second.port))
    other = _raw(second, "CLUSTER", "MYID").decode()
    await eventually(lambda: other in _raw(first, "CLUSTER", "NODES").decode())
    slot = str(first.command("CLUSTER", "KEYSLOT", "{a}1"))
    first.command("SET", "{a}1", "x")
    await eventually(lambda: _migrates(first, slot, other))
    found.add(await code(first.url, "GET", "{a}2"))
    found.add(await code(first.url, "MGET", "{a}1", "{a}2"))
    first.command("DEL", "{a}1")
    first.command("CLUSTER", "SETSLOT", slot, "NODE", other)
    found.add(await code(first.url, "GET", "{a}1"))
    return found


def _raw(server: RedisProcess, *words: str) -> Any:
    with redis.Redis(port=server.port) as client:
        client.response_callbacks.clear()
        return client.execute_command(*words)


def _migrates(node: RedisProcess, slot: str, other: str) -> bool:
    try:
        node.command("CLUSTER", "SETSLOT", slot, "MIGRATING", other)
    except redis.ResponseError:
        return False
    return True


async def unreachable(server: RedisProcess, authority: Path) -> set[str]:
    found = {await code(f"redis://127.0.0.1:{free_port()}/0", "TIME")}
    found.add(await code(f"redis+cluster://127.0.0.1:{server.port}", "TIME"))
    found.add(await code(f"redis+sentinel://127.0.0.1:{free_port()}/events/0", "TIME"))
    port = free_port()
    configure(server, tls_port=str(port))
    # The server asks for a certificate of the client.
    trusting = f"?ssl_ca_certs={authority}"
    for options in ("", trusting):
        found.add(await code(f"rediss://127.0.0.1:{port}/0{options}", "TIME"))
    server.suspend()
    found.add(await code(server.url, "TIME", timeout=0.1))
    server.resume()
    return found


async def test_every_problem_of_redis_is_named_for_what_it_is(
    tmp_path: Path,
    server: RedisProcess,
    nodes: tuple[RedisProcess, RedisProcess],
    redis_process: StartRedis,
) -> None:
    slow = ("--key-load-delay", "50", "--loading-process-events-interval-bytes", "1024")
    loading = redis_process("--enable-debug-command", "yes", *slow)
    found = {
        *await refusals(server),
        *await as_replica(server),
        *await disk_and_load(server),
        *await without_password(server),
        *await while_loading(loading),
        *await cluster(*nodes),
        *await unreachable(server, tmp_path / "authority.pem"),
    }
    # `old`: no such server is at hand; tests/http/test_health.py reads its INFO.
    assert found == {*PROBLEMS} - {"old"}
