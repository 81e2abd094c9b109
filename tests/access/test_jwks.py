"""An issuer's keys from a real HTTP server: fetched, waited for, changed and taken away."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.access import jwks
from gateway.access.jwks import JwksKeys
from gateway.access.tokens import TokenVerifier
from gateway.errors import Unavailable
from gateway.settings.keys import MAX_TRIED
from tests.access.issuers import (
    ASYMMETRIC,
    accepting,
    jwk,
    replace_keys,
    rules,
    signed,
    verifying_keys,
)
from tests.access.jwks_server import Issuer, fetched, named, passes, start_issuer
from tests.support import eventually


@pytest.fixture
async def issuer(aiohttp_server: Any) -> Issuer:
    return await start_issuer(aiohttp_server)


@pytest.fixture
async def access(issuer: Issuer) -> AsyncIterator[TokenVerifier]:
    """A verifier that has fetched the issuer's keys."""
    async with fetched(issuer) as verifier:
        await verifier.verify(named("RS256"))
        yield verifier


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
async def test_every_algorithm_is_verified(issuer: Issuer, algorithm: str) -> None:
    """A token is good with the key of its `kid`, or any that fits if it names none; not with
    another one, though it bear the name."""
    issuer.keys = [jwk(name) for name in ASYMMETRIC]
    async with fetched(issuer) as access:
        assert await passes(access, named(algorithm))
        assert await passes(access, signed(algorithm))
        assert not await passes(access, signed(algorithm, 1, {"kid": f"{algorithm}-0"}))
        assert not await passes(access, signed(algorithm, 1))
        other = "ES256-0" if algorithm == "EdDSA" else "EdDSA-0"
        assert not await passes(access, signed(algorithm, 0, {"kid": other}))
    assert issuer.requests == 1


async def test_a_keys_alg_narrows_it(issuer: Issuer) -> None:
    """A key that names its algorithm is good for no other."""
    issuer.keys = [jwk("PS256", alg="PS256"), jwk("ES256")]
    async with fetched(issuer) as access:
        assert await passes(access, named("PS256"))
        assert not await passes(access, signed("RS256", 0, {"kid": "PS256-0"}))


async def test_a_token_is_tried_with_few_keys(issuer: Issuer) -> None:
    """Without a name a token is tried with a few keys at most; with one, with that key."""
    others = [jwk("EdDSA", number) for number in range(1, MAX_TRIED)]
    issuer.keys = [*others, jwk("EdDSA", 0), jwk("EdDSA", MAX_TRIED)]
    async with fetched(issuer) as access:
        assert await passes(access, signed("EdDSA", 0))
        assert not await passes(access, signed("EdDSA", MAX_TRIED))
        assert await passes(access, named("EdDSA", MAX_TRIED))


async def test_waits_for_the_first_keys(issuer: Issuer) -> None:
    """A request that comes before the first keys waits for them."""
    issuer.open.clear()
    async with fetched(issuer) as access:
        verifying = [asyncio.create_task(access.verify(named("RS256"))) for _ in range(20)]
        await eventually(lambda: issuer.requests)
        assert not any(task.done() for task in verifying)
        issuer.open.set()
        assert {identity.subject for identity in await asyncio.gather(*verifying)} == {"ada"}
    assert issuer.requests == 1


async def test_without_keys_tokens_are_unavailable(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without any keys a token can be neither good nor bad; they are fetched until they come."""
    monkeypatch.setattr(jwks, "_FIRST_PAUSE", 0.01)
    issuer.fail()
    async with fetched(issuer) as access:
        with pytest.raises(Unavailable) as caught:
            await access.verify(named("RS256"))
        assert caught.value.temporary
        await eventually(lambda: issuer.requests > 3)
        issuer.answer = None

        async def good() -> bool:
            with contextlib.suppress(Unavailable):
                return await passes(access, named("RS256"))
            return False

        await eventually(good)
    lines = [line for line in caplog.messages if "GATEWAY_JWKS_URL" in line]
    assert len(lines) == 1, "a failing issuer must not fill the log"
    assert "500" in lines[0]
    assert "no token can be checked" in lines[0]


async def test_pauses_grow_while_the_issuer_is_down(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An issuer that stays down is asked less and less often."""
    pauses: list[float] = []
    monkeypatch.setattr(jwks, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(jwks, "_LONGEST_PAUSE", 0.008)

    class Watched(JwksKeys):
        async def _pause(self, seconds: float) -> None:
            pauses.append(seconds)
            await super()._pause(seconds)

    issuer.fail()
    running = asyncio.create_task(Watched(issuer.url).run())
    await eventually(lambda: len(pauses) >= 6)
    running.cancel()
    for pause, longest in zip(pauses, [0.001, 0.002, 0.004, 0.008, 0.008, 0.008], strict=False):
        assert longest / 2 <= pause <= longest


async def test_an_unknown_kid_fetches_once(issuer: Issuer, access: TokenVerifier) -> None:
    """An unknown `kid` fetches the keys again, once for all who ask. What the issuer does not
    publish is not asked for again at once."""
    invented = signed("RS256", 5, {"kid": "invented"})
    for _ in range(5):
        assert not await passes(access, invented)
    assert issuer.requests == 2

    issuer.keys.append(jwk("RS256", 1))
    issuer.open.clear()
    another = signed("RS256", 5, {"kid": "another"})
    asking = [asyncio.create_task(passes(access, named("RS256", 1))) for _ in range(50)]
    asking += [asyncio.create_task(passes(access, another)) for _ in range(50)]
    await eventually(lambda: issuer.requests == 3)
    assert await passes(access, named("RS256")), "a known key does not wait"
    issuer.open.set()
    assert await asyncio.gather(*asking) == [True] * 50 + [False] * 50
    for _ in range(5):
        assert not await passes(access, another)
    assert issuer.requests == 3


async def test_an_invented_kid_delays_a_new_one_and_refuses_none(
    issuer: Issuer, access: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While strangers invent one `kid` after the other, the issuer is asked rarely, and a token
    with a new key is held, or may come again; it is never refused."""
    monkeypatch.setattr(jwks, "REFETCH_SECONDS", 0.2)
    monkeypatch.setattr(jwks, "MAX_WAIT_SECONDS", 0.05)
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def invent() -> None:
        for number in itertools.count():
            with contextlib.suppress(Unavailable):
                assert not await passes(access, signed("RS256", 5, {"kid": f"i-{number}"}))

    strangers = [asyncio.create_task(invent()) for _ in range(5)]
    await eventually(lambda: issuer.requests >= 1 + jwks.REFETCH_BURST)
    issuer.keys.append(jwk("RS256", 1))
    outcomes = []

    async def good() -> bool:
        try:
            outcomes.append(await passes(access, named("RS256", 1)))
        except Unavailable:
            return False
        return True

    await eventually(good)
    assert outcomes == [True]
    for stranger in strangers:
        stranger.cancel()
    await asyncio.wait(strangers)
    assert issuer.requests <= 2 + jwks.REFETCH_BURST + (loop.time() - began) / 0.2

    # Held, where the next fetch is near.
    monkeypatch.setattr(jwks, "MAX_WAIT_SECONDS", 5.0)
    issuer.keys.append(jwk("RS256", 2))
    assert await passes(access, named("RS256", 2))


async def test_a_kid_that_was_absent_is_asked_for_again_later(
    issuer: Issuer, access: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An issuer may publish a key after it has signed with it."""
    monkeypatch.setattr(jwks, "ABSENT_SECONDS", 0.05)
    assert not await passes(access, named("RS256", 1))
    issuer.keys.append(jwk("RS256", 1))

    async def good() -> bool:
        return await passes(access, named("RS256", 1))

    await eventually(good)
    assert issuer.requests == 3


async def test_few_absent_kids_are_remembered(
    issuer: Issuer, access: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest is forgotten, and asked for again."""
    monkeypatch.setattr(jwks, "REFETCH_SECONDS", 0.0)
    monkeypatch.setattr(jwks, "MAX_ABSENT", 2)
    for kid, requests in (("a", 2), ("b", 3), ("c", 4), ("c", 4), ("b", 4), ("a", 5)):
        assert not await passes(access, signed("RS256", 5, {"kid": kid}))
        assert issuer.requests == requests, kid


async def test_a_known_kid_fetches_nothing(
    issuer: Issuer, access: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bad tokens with a known `kid`, without one, or by a forbidden algorithm fetch nothing."""
    monkeypatch.setattr(jwks, "REFETCH_SECONDS", 0.0)
    for token in (
        signed("RS256", 1, {"kid": "RS256-0"}),
        signed("RS256", 1),
        signed("ES256", 0, {"kid": "RS256-0"}),
        signed("HS256", 0, {"kid": "invented"}),
    ):
        assert not await passes(access, token)
    assert issuer.requests == 1
    assert not await passes(access, signed("RS256", 1, {"kid": "invented"}))
    assert issuer.requests == 2


async def test_a_removed_key_verifies_nothing(
    issuer: Issuer, access: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token of a removed key is refused, though it was cached."""
    token = named("RS256")
    assert await passes(access, token)
    issuer.keys = [jwk("RS256", 1)]
    assert await passes(access, token), "it has not been fetched yet"
    monkeypatch.setattr(jwks, "REFETCH_SECONDS", 0.0)
    assert await passes(access, named("RS256", 1))
    monkeypatch.setattr(jwks, "REFETCH_SECONDS", 30.0)
    assert not await passes(access, token)


async def test_keys_are_refreshed(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys are fetched again by themselves; the same ones leave tokens cached."""
    monkeypatch.setattr(jwks, "REFRESH_SECONDS", 0.02)
    async with fetched(issuer) as access:
        token = named("RS256")
        assert await passes(access, token)
        await eventually(lambda: issuer.requests > 3)
        assert access.issuers[0].keys.generation == 1
        issuer.keys = [jwk("RS256", 1)]

        async def refused() -> bool:
            return not await passes(access, token)

        await eventually(refused)
        assert access.issuers[0].keys.generation == 2


async def test_an_unknown_kid_joins_a_refresh(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token with a new `kid` that comes during a refresh waits for that one."""
    monkeypatch.setattr(jwks, "REFRESH_SECONDS", 0.02)
    async with fetched(issuer) as access:
        assert await passes(access, named("RS256"))
        issuer.open.clear()
        seen = issuer.requests
        await eventually(lambda: issuer.requests > seen)
        issuer.keys = [jwk("RS256", 1)]
        asking = asyncio.create_task(passes(access, named("RS256", 1)))
        await asyncio.sleep(0)
        issuer.open.set()
        assert await asking


async def test_keys_replaced_during_a_verification(issuer: Issuer) -> None:
    """A token that was verified with keys replaced meanwhile is not cached."""
    issuer.open.clear()
    token = named("RS256")
    async with fetched(issuer) as access:
        verifying = asyncio.create_task(access.verify(token))
        await eventually(lambda: issuer.requests)
        replace_keys(access, verifying_keys("RS256", 1), "RS256")
        issuer.open.set()
        assert (await verifying).subject == "ada"
        assert not await passes(access, token)
        assert await passes(access, signed("RS256", 1))


async def test_a_dead_fetch_task_is_unavailable(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the task that fetches has died, a request does not wait without end."""
    monkeypatch.setattr(jwks, "MAX_WAIT_SECONDS", 0.05)
    access = accepting(rules("RS256"), JwksKeys(issuer.url))
    with pytest.raises(Unavailable, match="could not be fetched yet"):
        await access.verify(named("RS256"))
