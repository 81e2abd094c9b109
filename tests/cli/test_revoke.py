"""`sse-gateway revoke`: what it writes, what it says, and what it refuses."""

import re
import time
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from gateway.bus.revocations import read_revocations
from gateway.bus.revocations import revoke as write_revocation
from tests.harness.gateway_process import run
from tests.support import free_port

ONE_OF_EACH = {
    "subject": "user 7 <ü>",
    "token-id": "subject:9",
    "organization": "acme",
    "execution": "run-1",
}


@pytest.mark.parametrize("kind", ONE_OF_EACH)
async def test_revoke_and_undo(kind: str, redis: Redis, redis_url: str) -> None:
    """A revocation of each kind is written with its end, said in a sentence, and undone."""
    value = ONE_OF_EACH[kind]
    words = ("revoke", f"--{kind}", value)
    status, out, err = await run(*words, "--for", "600", REDIS_URL=redis_url)
    assert status == 0, err
    assert out.startswith(f"The {kind} {value} is revoked until ")
    assert out.count("\n") == 1
    [(found, end)] = (await read_revocations(redis))[kind].items()  # type: ignore[index]
    assert found == value
    assert end == pytest.approx(time.time() + 600, abs=30)
    until = re.findall(r"until (\S+Z):", out)
    assert until == [f"{datetime.fromtimestamp(end, UTC):%Y-%m-%dT%H:%M:%SZ}"]
    assert (await run(*words, "--undo", REDIS_URL=redis_url))[:2] == (
        0,
        f"The {kind} {value} is not revoked any more: its streams open again.\n",
    )
    assert not any((await read_revocations(redis)).values())
    _, out, _ = await run(*words, "--undo", REDIS_URL=redis_url)
    assert out == f"The {kind} {value} was not revoked.\n"


async def test_for_a_day(redis: Redis, redis_url: str) -> None:
    """Without --for a revocation holds for a day."""
    assert (await run("revoke", "--subject", "user-7", REDIS_URL=redis_url))[0] == 0
    [end] = (await read_revocations(redis))["subject"].values()
    assert end == pytest.approx(time.time() + 86_400, abs=30)


async def test_list(redis: Redis, redis_url: str) -> None:
    """`--list` shows what is in force, whole, and nothing that is over."""
    status, out, _ = await run("revoke", "--list", REDIS_URL=redis_url)
    assert (status, out) == (0, "Nothing is revoked.\n")
    long = "very-long-" * 20
    await write_revocation(redis, "subject", long, 600)
    await write_revocation(redis, "organization", "acme", 300)
    await redis.zadd("sse:{!revocations}:members", {"execution:over": time.time() - 1})
    status, out, _ = await run("revoke", "--list", REDIS_URL=redis_url)
    assert status == 0
    assert re.search(r"^ organization +\d{4}-\S+Z +acme *$", out, re.MULTILINE)
    assert re.search(rf"subject\d{{4}}-\S+Z{long}$", re.sub(r"\s", "", out))
    assert "over" not in out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "exactly one"),
        (("--for", "60"), "exactly one"),
        (("--undo",), "exactly one"),
        (("--subject", "a", "--organization", "b"), "exactly one"),
        (("--subject", ""), "--subject"),
        (("--token-id", "a\nb"), "--token-id"),
        (("--execution", "a/b"), "--execution"),
        (("--subject", "a", "--for", "0"), "--for"),
        (("--subject", "a", "--for", "-5"), "--for"),
        (("--subject", "a", "--for", "nan"), "--for"),
        (("--subject", "a", "--for", "99999999999"), "--for"),
        (("--subject", "a", "--undo", "--for", "5"), "--undo"),
        (("--list", "--subject", "a"), "--list"),
        (("--list", "--undo"), "--list"),
    ],
)
async def test_wrong_usage(
    words: tuple[str, ...], complaint: str, redis: Redis, redis_url: str
) -> None:
    """Wrong usage is exit status 2 with a sentence that names the option, and writes nothing."""
    status, out, err = await run("revoke", *words, REDIS_URL=redis_url)
    assert status == 2
    assert complaint in err
    assert "Traceback" not in err
    assert out == ""
    assert await redis.dbsize() == 0


@pytest.mark.parametrize("words", [("--subject", "a"), ("--subject", "a", "--undo"), ("--list",)])
async def test_redis_away(words: tuple[str, ...]) -> None:
    """Without Redis it says so, without the password in the URL, and claims nothing."""
    url = f"redis://:hush@127.0.0.1:{free_port()}/0"
    status, out, err = await run("revoke", *words, REDIS_URL=url)
    assert (status, out) == (1, "")
    assert "Redis cannot be reached" in err
    assert "hush" not in err
    assert "Traceback" not in err
