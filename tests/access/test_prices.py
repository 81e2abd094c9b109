"""What a token may cost, good or bad: memory that stays, and time of the event loop."""

import gc
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import jwt
import pytest

from gateway.access import tokens
from gateway.access.keys import FixedKeys
from gateway.access.lru_cache import LruCache
from gateway.access.policy import Credentials
from gateway.access.tokens import MAX_TOKEN_BYTES, TokenVerifier
from gateway.errors import Unauthenticated
from gateway.settings.keys import MAX_TRIED
from tests.access.issuers import (
    ALGORITHMS,
    ASYMMETRIC,
    accepting,
    payload,
    raw,
    rules,
    signed,
    verifier,
    verifying_key,
    verifying_keys,
)
from tests.conftest import RunningGateway
from tests.support import SECRET

MANY = [f"o{number}" for number in range(850)]
"""As many organizations as one token has room for."""


async def test_cached_tokens_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens with as many organizations as fit, some 77 KiB of memory each, take no more in all
    than is stated; the smaller the tokens, the more are cached."""
    most = 2 * 1024 * 1024
    assert most < tokens.CACHE_BYTES
    monkeypatch.setattr(tokens, "CACHE_BYTES", most)
    access = verifier("HS256")
    large = [signed("HS256", jti=str(number), organization_id=MANY) for number in range(60)]
    assert MAX_TOKEN_BYTES * 0.9 < len(large[0]) <= MAX_TOKEN_BYTES
    tracemalloc.start()
    try:
        for token in large:
            await access.verify(token)
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most * 0.8 < taken < most * 1.1


def test_the_cache_is_bounded() -> None:
    """What was not used for longest goes first, until what is left fits; an entry that is put
    again counts once, and one that is too large is not cached."""
    cache: LruCache[str] = LruCache(10, len)
    for name in ("aaa", "bbb", "ccc"):
        cache.put(name.encode(), name)
    assert cache.get(b"aaa") == "aaa"
    cache.put(b"ccc", "cccc")
    cache.put(b"ddd", "ddd")
    assert [cache.get(name) for name in (b"aaa", b"bbb", b"ccc", b"ddd")] == [
        "aaa", None, "cccc", "ddd",
    ]  # fmt: skip
    assert (len(cache), cache.bytes) == (3, 10)
    cache.put(b"e", "e" * 11)
    assert (len(cache), cache.bytes) == (0, 0)


async def test_a_stream_keeps_its_own_organization(gateway: RunningGateway) -> None:
    """What an open stream keeps of a token with a thousand organizations and executions is what it
    was opened for."""
    claims = {"sub": "ada", "exp": time.time() + 60, "organization_id": MANY[:400]}
    token = jwt.encode({**claims, "executions": MANY[:400]}, SECRET, "HS256")
    principal = await gateway.components.access.policy.identify("o7", Credentials(token, "o3"))
    assert principal.identity.organizations == {"o3"}
    assert principal.identity.executions == {"o7"}
    await gateway.components.access.policy.admit(principal)


BAD: dict[str, Callable[[str, int], str]] = {
    "signed by another": lambda algorithm, size: signed(algorithm, pad="x" * size),
    "wide header": lambda algorithm, size: raw(
        f'{{"alg":"{algorithm}","x":[{",".join(["{}"] * (size // 3))}]}}', payload(), algorithm
    ),
    "deep header": lambda algorithm, size: raw(
        f'{{"alg":"{algorithm}","x":{"[" * (size // 2)}{"]" * (size // 2)}}}', payload(), algorithm
    ),
    "long number": lambda algorithm, size: raw(
        f'{{"alg":"{algorithm}","x":{"9" * min(size, 4300)}}}', payload(), algorithm
    ),
    "deep claims": lambda algorithm, size: raw(
        f'{{"alg":"{algorithm}"}}', "[" * (size // 2) + "]" * (size // 2), algorithm
    ),
    "no base64": lambda _, size: "!" * size,
    "many dots": lambda _, size: "." * size,
}


async def cost(access: TokenVerifier, token: str) -> float:
    """Seconds of this process's time for one refusal, the least of five turns."""
    turns = []
    for _ in range(5):
        begun = time.process_time()
        for _ in range(10):
            with suppress(Unauthenticated):
                await access.verify(token)
        turns.append((time.process_time() - begun) / 10)
    return min(turns)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_token_costs_little(kind: str, algorithm: str) -> None:
    """Even if eight keys must be tried, a token that is refused costs at most 20 ms (some 5 ms are
    usual, for ES384), and one of twice the size less than three times as much."""
    keys = verifying_keys(algorithm, 1)
    if algorithm in ASYMMETRIC:
        keys = FixedKeys([verifying_key(algorithm, number) for number in range(1, MAX_TRIED + 1)])
    access = accepting(rules(algorithm), keys)
    small, large = [BAD[kind](algorithm, size) for size in (2400, 4800)]
    assert len(large) <= MAX_TOKEN_BYTES
    assert await cost(access, large) < 0.020
    assert await cost(access, large) < 3 * await cost(access, small) + 0.0005
