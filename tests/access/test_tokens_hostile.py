"""Whatever a stranger sends as a token is refused as one, and never breaks the reader."""

import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.access.claims import faults
from gateway.access.keys import Issuer
from gateway.errors import Forbidden, Unauthenticated
from tests.access.issuers import (
    ALGORITHMS,
    claims,
    raw,
    raw_claims,
    signed,
    signing_key,
    verifier,
    verifying_keys,
)
from tests.support import SECRET

SOON = int(time.time()) + 3600
ACME = '"organization_id":"acme"'

PAYLOADS = [
    *(f'{{{ACME},"exp":{exp}}}' for exp in (
        "Infinity", "-Infinity", "NaN", "1e400", "1e308", "true", "false", "null", '""',
        f'"{SOON}"', f"[{SOON}]", "{}", "9" * 400, f"{SOON}000", "-1",
    )),
    *(f'{{{ACME},"exp":{SOON},"{name}":{value}}}' for name in ("nbf", "iat") for value in (
        "Infinity", "NaN", "1e400", "true", "null", '"1"', "[]", "9" * 400,
    )),
    *(f'{{{ACME},"exp":{SOON},"{name}":{value}}}' for name in ("sub", "jti") for value in (
        "1.5", "true", "[]", "{}", '["ada"]', r'"\ud800"', r'"a\udfffb"',
    )),
    rf'{{"organization_id":"\ud800","exp":{SOON}}}',
    rf'{{"organization_id":["acme","\ud800"],"exp":{SOON}}}',
    "[]", '"text"', "1", "null", "", "{", "[" * 5000, '{"a":' * 900,
    "\ud800".encode("utf-8", "surrogatepass"),
    b"\xff\xfe", b"\0",
]  # fmt: skip


@pytest.mark.parametrize(
    "payload", PAYLOADS, ids=lambda payload: repr(payload).replace(str(SOON), "soon")[:60]
)
async def test_signed_nonsense_is_refused(payload: bytes | str) -> None:
    """Claims that make no sense are refused even with a genuine signature."""
    access = verifier("HS256")
    good = raw_claims(f'{{{ACME},"exp":{SOON}}}')
    assert (await access.verify(good)).organizations == {"acme"}
    with pytest.raises(Unauthenticated):
        await access.verify(raw_claims(payload))


HEADERS = [
    "[]", "null", "", "{", "[" * 5000, '{"alg":' * 900, "{}", b"\xff",
    *(f'{{"alg":{alg}}}' for alg in ("null", "1", "[]", "{}", '["HS256"]', "true", '""', '"hs256"',
                                     r'"HS256\u0000"', r'"\ud800"', '"RS256"')),
    *(f'{{"alg":"HS256","kid":{kid}}}' for kid in ("1", "[]", "{}", "true")),
    *(f'{{"alg":"HS256","crit":{crit}}}' for crit in ("null", "1", '"exp"', "[]", '["exp"]')),
    '{"alg":"HS256","b64":false}', '{"alg":"HS256","b64":false,"crit":["b64"]}',
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: repr(header)[:60])
async def test_a_nonsense_header_is_refused(header: bytes | str) -> None:
    """A header that makes no sense is refused even with a genuine signature."""
    access = verifier("HS256")
    payload = json.dumps(claims())
    assert (await access.verify(raw('{"alg":"HS256"}', payload, "HS256"))).subject == "ada"
    with pytest.raises(Unauthenticated):
        await access.verify(raw(header, payload, "HS256"))


@pytest.mark.parametrize(
    "token", ["", ".", "..", "...", "a.b.c", "é.é.é", "\ud800", "\0", " ", "a" * 8192, "." * 8192]
)
async def test_text_that_is_no_token_is_refused(token: str) -> None:
    """Text that is no token is refused; the same door lets a genuine one in."""
    access = verifier("HS256")
    with pytest.raises(Unauthenticated):
        await access.verify(token)
    assert (await access.verify(signed("HS256"))).subject == "ada"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
headers = st.dictionaries(
    st.sampled_from(["alg", "kid", "crit", "b64", "typ", "jwk", "x5c"]) | st.text(),
    json_values | st.sampled_from(ALGORITHMS),
    max_size=4,
)
names = ["exp", "nbf", "iat", "iss", "aud", "sub", "jti", "organization_id", "executions"]
payloads = st.fixed_dictionaries(
    {},
    optional={name: json_values | st.integers(SOON, SOON * 2) for name in names},
)


async def _only_refused(token: str, **others: Any) -> None:
    """Passing it as well is right where the fuzz has found a good token."""
    access = verifier("HS256", **others)
    try:
        identity = await access.verify(token)
    except (Unauthenticated, Forbidden):
        return
    assert identity.organizations is not None
    assert time.time() < identity.expires_at < 1e12
    for text in (identity.subject, identity.token_id, *identity.organizations):
        text.encode()


@pytest.mark.fuzz
@given(st.text() | st.text("eyJ.-_=AZaz09"))
async def test_any_text_is_refused(token: str) -> None:
    """Any text is refused."""
    with pytest.raises(Unauthenticated):
        await verifier("HS256").verify(token)


@pytest.mark.fuzz
@given(header=headers, payload=payloads)
async def test_any_header_is_refused(header: dict[str, Any], payload: dict[str, Any]) -> None:
    """Any header above a genuine signature is refused, or passes as a good token."""
    await _only_refused(raw(json.dumps(header), json.dumps(payload), "HS256"))


@pytest.mark.fuzz
@given(payload=payloads)
async def test_any_claims_pass_or_are_refused(payload: dict[str, Any]) -> None:
    """Any claims under a genuine signature are refused, or make an identity of sound values."""
    token = raw_claims(json.dumps(payload))
    await _only_refused(token, reads_executions=True)
    await _only_refused(token, jwt_issuer="ours", jwt_audience="ours")


wild: st.SearchStrategy[Any] = st.sampled_from(
    [True, None, "soon", "9" * 20, -1, 1e12, 1e308, 10**400, float("nan"), float("inf"), [], {}]
)
moments = st.sampled_from([-(10**6), -40, -20, 20, 40, 10**6]) | st.floats(100, 10**6)


def dates(good: int) -> st.SearchStrategy[Any]:
    """Dates, those that are *good* seconds from now the most."""
    seconds = st.just(good) | st.just(good) | moments
    return st.one_of(seconds.map(lambda one: time.time() + one), seconds.map(_whole), wild)


def _whole(seconds: float) -> int:
    return int(time.time() + seconds)


issuers = st.just("ours") | st.sampled_from(["theirs", "", None, 1, ["ours"]])
audiences = issuers | st.lists(issuers, max_size=3)
dated = st.fixed_dictionaries(
    {"exp": dates(600) | st.just(...)},
    optional={"nbf": dates(-600), "iat": dates(-600), "iss": issuers, "aud": audiences},
)
wanted = st.sampled_from([None, "ours"])


@pytest.mark.fuzz
@given(dated, st.sampled_from([0.0, 30.0]), wanted, wanted)
@example({"exp": 4_000_000_000, "nbf": True}, 0.0, None, None)
@example({"exp": 4_000_000_000, "aud": ["ours", 1]}, 0.0, None, "ours")
async def test_claims_are_checked_as_pyjwt_checks_them(
    given_claims: dict[str, Any], leeway: float, issuer: str | None, audience: str | None
) -> None:
    """What the gateway accepts, PyJWT accepts; and the reverse where all dates are numbers from
    1970 to 9999, which PyJWT does not ask for."""
    given_claims = {name: value for name, value in given_claims.items() if value is not ...}
    token = raw_claims(json.dumps({"organization_id": "acme", **given_claims}))
    settings = {"jwt_leeway_seconds": leeway, "jwt_issuer": issuer, "jwt_audience": audience}
    try:
        await verifier("HS256", **settings).verify(token)
        is_accepted = True
    except Unauthenticated:
        is_accepted = False
    try:
        jwt.decode(
            token,
            signing_key("HS256"),
            ["HS256"],
            issuer=issuer,
            audience=audience,
            leeway=leeway,
            options={"require": ["exp"], "verify_aud": audience is not None},
        )
        is_valid = True
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
        is_valid = False
    found = [given_claims[name] for name in ("exp", "nbf", "iat") if name in given_claims]
    if all(type(one) in (int, float) and 0 <= one <= 253402300799 for one in found):
        assert is_accepted == is_valid
    else:
        assert not is_accepted


def test_a_token_ends_with_the_second_of_its_exp() -> None:
    """A token is good before `exp`, and from `nbf` and `iat` on (RFC 7519, section 4.1)."""
    issuer = Issuer(verifying_keys("HS256"), ("HS256",), None, None)
    for claim, before, at, after in (
        ("exp", "", "expired", "expired"),
        ("nbf", "not_yet_valid", "", ""),
        ("iat", "not_yet_valid", "", ""),
    ):
        for leeway in (0.0, 30.0):
            begin = 1000.0 + (leeway if claim == "exp" else -leeway)
            for now, reason in ((begin - 0.5, before), (begin, at), (begin + 0.5, after)):
                faulty = faults({"exp": 2000, claim: 1000}, issuer, leeway, now)
                assert [one.reason for one in faulty] == [reason] * bool(reason), (claim, now)


@pytest.mark.fuzz
@given(st.binary(), st.binary())
async def test_any_bytes_are_refused(header: bytes, payload: bytes) -> None:
    """Any bytes where JSON should be are refused."""
    access = verifier("HS256")
    for token in (raw(header, payload, "HS256"), raw_claims(payload)):
        with pytest.raises(Unauthenticated):
            await access.verify(token)


@pytest.mark.fuzz
@given(st.data())
async def test_any_change_of_a_genuine_token_is_refused(data: st.DataObject) -> None:
    """A genuine token with one character changed is refused, and untouched it passes."""
    token = signed("HS256")
    # Of the last character two bits mean nothing, which PyJWT's floor version lets pass.
    place = data.draw(st.integers(0, len(token) - 2))
    other = data.draw(st.characters().filter(lambda character: character != token[place]))
    changed = token[:place] + other + token[place + 1 :]
    access = verifier("HS256")
    with pytest.raises(Unauthenticated):
        await access.verify(changed)
    assert (await access.verify(token)).subject == "ada"


async def test_all_refusals_say_the_same() -> None:
    """Neither the token nor the secret is in a refusal or in a repr."""
    access = verifier("HS256")
    token = signed("HS256", 1)
    with pytest.raises(Unauthenticated) as caught:
        await access.verify(token)
    [issuer] = access.issuers
    (key,) = await issuer.keys.candidates("HS256", None)
    assert SECRET in str(key.material)
    shown = [repr(caught.value), repr(caught.value.__cause__), repr(access), repr(key)]
    assert not [text for text in shown if SECRET in text or token in text]
