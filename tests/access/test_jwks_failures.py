"""Whatever an issuer answers, the last good keys stay; whatever it publishes, the good are used."""

import asyncio
import contextlib
import json
import logging
from typing import Any

import jwt
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from gateway.access import jwks
from gateway.access.jwks import read_jwks
from gateway.errors import Unavailable
from tests.access.issuers import ASYMMETRIC, jwk, pair
from tests.access.jwks_server import Answer, Issuer, fetched, named, passes, start_issuer


@pytest.fixture
async def issuer(aiohttp_server: Any) -> Issuer:
    return await start_issuer(aiohttp_server)


async def _redirect(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "/elsewhere"})


async def _cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"keys":')
    assert request.transport is not None
    request.transport.abort()
    return response


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(b" " * 65536)
    return response


async def _hangs(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"{")
    with contextlib.suppress(ConnectionError):
        while True:
            # Also a byte now and then is no answer.
            await asyncio.sleep(0.02)
            await response.write(b" ")
    return response


def _answers(body: str | bytes, status: int = 200) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body)

    return answer


GOOD = {"keys": [jwk("RS256", 1)]}
FAILURES: dict[str, Answer] = {
    "error": _answers(json.dumps(GOOD), 500),
    "not found": _answers(json.dumps(GOOD), 404),
    "no content": _answers(b"", 204),
    "redirect": _redirect,
    "cut off": _cut_off,
    "endless": _endless,
    "hangs": _hangs,
    "too large": _answers(json.dumps({**GOOD, "x": "x" * jwks.MAX_BYTES})),
    "no JSON": _answers("<html>"),
    "too deep": _answers("[" * 100_000),
    "no object": _answers(json.dumps(GOOD["keys"])),
    "no keys": _answers("{}"),
    "keys are no list": _answers(json.dumps({"keys": GOOD["keys"][0]})),
    "empty": _answers('{"keys":[]}'),
    "nothing usable": _answers('{"keys":[{"kty":"oct","k":"AAAA"}]}'),
    "too many": _answers(json.dumps({"keys": GOOD["keys"] * (jwks.MAX_KEYS + 1)})),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
async def test_a_failed_fetch_keeps_the_keys(
    issuer: Issuer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failure: Answer,
) -> None:
    """Whatever goes wrong, the last good keys stay, a new `kid` is no reason to turn anybody away
    for good, and once the issuer is well again its new key counts."""
    monkeypatch.setattr(jwks, "TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(jwks, "REFETCH_SECONDS", 0.0)
    monkeypatch.setattr(jwks, "_FIRST_PAUSE", 60.0)
    async with fetched(issuer) as access:
        assert await passes(access, named("RS256"))
        issuer.keys, issuer.answer = GOOD["keys"], failure
        with pytest.raises(Unavailable):
            await access.verify(named("RS256", 1))
        assert await passes(access, named("RS256", sub="bob"))
        assert "the last ones stay in use" in caplog.text
        issuer.answer = None
        assert await passes(access, named("RS256", 1))
        assert not await passes(access, named("RS256", sub="cy"))


UNUSABLE: dict[str, tuple[Any, str]] = {
    "secret": ({"kty": "oct", "k": "c2VjcmV0", "kid": "s"}, "kty"),
    "of no kind": ({"kid": "s"}, "kty"),
    "kind is a list": ({"kty": ["RSA"]}, "unhashable"),
    "no object": ("RSA", "kty"),
    "for encryption": (jwk("RS256", 1, use="enc"), "use"),
    "private": (jwk("RS256", 1, d="AAAA"), "private key"),
    "weak": (jwk("RS256", 1) | {"n": jwk("RS256", 1)["n"][:170]}, ""),
    "curve that nothing uses": (jwk("ES256", 1) | {"crv": "P-521"}, "damaged"),
    "curve that does not fit": (jwk("ES256", 1) | {"crv": "P-384"}, "damaged"),
    "algorithm that does not fit": (jwk("ES256", 1, alg="ES384"), "alg"),
    "algorithm for secrets": (jwk("RS256", 1, alg="HS256"), "alg"),
    "algorithm is none": (jwk("RS256", 1, alg="none"), "alg"),
    "without numbers": ({"kty": "RSA", "kid": "s"}, "damaged"),
    "numbers of numbers": (jwk("RS256", 1) | {"n": 5}, ""),
    "kid is a number": (jwk("RS256", 1) | {"kid": 5}, "kid"),
}


@pytest.mark.parametrize(("published", "why"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_an_unusable_key_is_logged(
    published: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that cannot be used is passed over with a line in the log; the one beside it is not."""
    (key,) = read_jwks([published, jwk("RS256")])
    assert key.kid == "RS256-0"
    (line,) = caplog.messages
    assert line.startswith("Key 1 of")
    assert why in line
    for secret in ("AAAA", "c2VjcmV0", jwk("RS256", 1)["n"]):
        assert secret not in line


def test_a_weak_key_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    """An RSA key under 2048 bits is passed over."""
    weak = jwk("RS256") | _numbers(pair("weak RSA"))
    assert read_jwks([weak]) == ()
    assert "2048" in caplog.text
    assert len(read_jwks([jwk("RS256") | _numbers(pair("RSA", 1))])) == 1


def _numbers(private: Any) -> dict[str, str]:
    public = jwt.get_algorithm_by_name("RS256").to_jwk(private.public_key(), as_dict=True)
    return {"n": public["n"], "e": public["e"]}


members = st.dictionaries(
    st.sampled_from(["kty", "crv", "x", "y", "n", "e", "d", "alg", "use", "kid", "k", "oth"]),
    st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "Ed448", "AQAB", "sig", "RS256", ""])
    | st.text()
    | st.none()
    | st.integers()
    | st.lists(st.integers(), max_size=2),
)


@given(st.lists(members | st.none() | st.text(), max_size=4), st.sampled_from(ASYMMETRIC), members)
def test_any_jwk_set_is_read_or_refused(
    published: list[Any], algorithm: str, changes: dict[str, Any]
) -> None:
    """Whatever an issuer publishes is read or passed over, and the good key in it is found."""
    logging.disable()
    try:
        found = read_jwks([*published, jwk(algorithm) | changes, jwk("ES256")])
    finally:
        logging.disable(logging.NOTSET)
    assert found[-1].kid == "ES256-0"
    for key in found:
        assert key.algorithms <= set(ASYMMETRIC)
