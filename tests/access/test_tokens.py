"""Attacks on tokens, by every algorithm; each beside a genuine token that passes the same door."""

import json
import string
import time
from collections.abc import Callable, Sequence
from typing import Any

import jwt
import pytest

from gateway.access.keys import FixedKeys, Key
from gateway.access.tokens import MAX_TOKEN_BYTES
from gateway.errors import Unauthenticated
from tests.access.issuers import (
    ALGORITHMS,
    ASYMMETRIC,
    SYMMETRIC,
    accepting,
    claims,
    confused,
    jwk,
    payload,
    pem,
    raw,
    raw_claims,
    rules,
    signed,
    signing_key,
    verifier,
    verifying_key,
    verifying_keys,
)

every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


async def refused(token: str, algorithm: str, **others: Any) -> str:
    """The code of the refusal; a genuine token must pass the very same verifier."""
    access = verifier(algorithm, **others)
    with pytest.raises(Unauthenticated) as caught:
        await access.verify(token)
    genuine = signed(algorithm, iss=others.get("jwt_issuer"), aud=others.get("jwt_audience"))
    assert (await access.verify(genuine)).subject == "ada"
    # The attack has not been learnt from the genuine one either.
    with pytest.raises(Unauthenticated):
        await access.verify(token)
    assert token not in str(caught.value)
    return caught.value.code


@every_algorithm
async def test_a_genuine_token_passes(algorithm: str) -> None:
    """A genuine token says who its bearer is, and until when."""
    expires_at = int(time.time()) + 60
    token = signed(algorithm, exp=expires_at, jti="one", organization_id=["acme", "globex"])
    identity = await verifier(algorithm).verify(token)
    assert identity.subject == "ada"
    assert identity.organizations == {"acme", "globex"}
    assert identity.expires_at == expires_at
    assert identity.token_id == "one"
    assert identity.executions is None


def respelled(token: str) -> str:
    """The same token, if what its last character says beyond the last byte does not count."""
    base64url = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    return token[:-1] + base64url[base64url.index(token[-1]) ^ 1]


ATTACKS: dict[str, Callable[[str], str]] = {
    "forged with another key": lambda name: signed(name, 1),
    "signature of another token": lambda name: (
        signed(name, sub="eve").rpartition(".")[0] + "." + signed(name).rpartition(".")[2]
    ),
    "signature stripped": lambda name: signed(name).rpartition(".")[0] + ".",
    "signature left out": lambda name: signed(name).rpartition(".")[0],
    "padding after the signature": lambda name: f"{signed(name)}==",
    "junk after the signature": lambda name: f"{signed(name)}!!!!",
    "another text of the same signature": lambda name: respelled(signed(name)),
    "unsigned": lambda name: jwt.encode(claims(), "", algorithm="none"),
    "unsigned, said otherwise": lambda name: raw('{"alg":"NonE"}', payload()),
    "its own key in the header": lambda name: signed(
        name, 1, {"jwk": jwk(name, 1) if name in ASYMMETRIC else {"kty": "oct", "k": "AAAA"}}
    ),
    "the URL of a key in the header": lambda name: signed(
        name, 1, {"jku": "https://eve.example/jwks.json", "x5u": "https://eve.example/x.pem"}
    ),
    "critical extension": lambda name: signed(name, 0, {"crit": ["b64"], "x": 1}),
    "unknown critical extension": lambda name: signed(name, 0, {"crit": ["x"], "x": 1}),
    "empty critical extensions": lambda name: raw(
        f'{{"alg":"{name}","crit":[]}}', payload(), name
    ),
    "payload that is not encoded": lambda name: raw(
        f'{{"alg":"{name}","b64":true}}', payload(), name
    ),
    "no expiry": lambda name: signed(name, exp=None),
    "not valid yet": lambda name: signed(name, nbf=int(time.time()) + 60),
    "issued in the future": lambda name: signed(name, iat=int(time.time()) + 60),
}  # fmt: skip


@every_algorithm
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_an_attack_is_refused(algorithm: str, attack: Callable[[str], str]) -> None:
    """No attack on the signature, the header or the times of a token passes."""
    assert await refused(attack(algorithm), algorithm) == "invalid_token"


@every_algorithm
async def test_an_expired_token_is_refused(algorithm: str) -> None:
    """An expired token is refused with a code of its own, for a new one to be fetched."""
    token = signed(algorithm, exp=int(time.time()) - 1)
    assert await refused(token, algorithm) == "token_expired"


@every_algorithm
async def test_leeway_bounds_clock_differences(algorithm: str) -> None:
    """Times that are off by less than the leeway pass, in both directions; by more they do not."""
    now = int(time.time())
    access = verifier(algorithm, jwt_leeway_seconds=30.0)
    await access.verify(signed(algorithm, exp=now - 10))
    await access.verify(signed(algorithm, nbf=now + 10, iat=now + 10))
    for token in (signed(algorithm, exp=now - 40), signed(algorithm, nbf=now + 60)):
        with pytest.raises(Unauthenticated):
            await access.verify(token)


@every_algorithm
@pytest.mark.parametrize("claim", ["iss", "aud"])
@pytest.mark.parametrize("value", [None, "eve", ["eve"], [], "", 1, {"ours": 1}])
async def test_wrong_issuer_or_audience_is_refused(algorithm: str, claim: str, value: Any) -> None:
    """A token of another issuer or for another audience is refused, and one that names none."""
    # Not by PyJWT's own encoder, which would refuse some of them.
    token = raw_claims(payload(**{"iss": "ours", "aud": "ours", claim: value}), algorithm)
    await refused(token, algorithm, jwt_issuer="ours", jwt_audience="ours")


async def test_audience_may_be_in_a_list() -> None:
    """A token for several audiences is good if ours is among them."""
    access = verifier("HS256", jwt_audience="ours")
    assert (await access.verify(signed("HS256", aud=["theirs", "ours"]))).subject == "ada"


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
@pytest.mark.parametrize("symmetric", SYMMETRIC)
async def test_a_public_key_is_not_used_as_a_secret(algorithm: str, symmetric: str) -> None:
    """The issuer's public key is no secret, though it be written as the text that everybody has,
    and not even if the HS algorithms were allowed beside the others by mistake."""
    public = pem(signing_key(algorithm))
    for text in (public, public.strip(), json.dumps(jwk(algorithm))):
        token = confused(text, symmetric)
        await refused(token, algorithm)
        mixed = accepting(rules(algorithm, symmetric), verifying_keys(algorithm))
        with pytest.raises(Unauthenticated):
            await mixed.verify(token)
        assert (await mixed.verify(signed(algorithm))).subject == "ada"


@every_algorithm
@pytest.mark.parametrize("other", ALGORITHMS)
async def test_an_algorithm_that_is_not_allowed_is_refused(algorithm: str, other: str) -> None:
    """Only the allowed algorithm passes, also where the key would be good for another one."""
    if other == algorithm:
        assert (await verifier(algorithm).verify(signed(other))).subject == "ada"
    else:
        await refused(signed(other), algorithm)


@pytest.mark.parametrize(("claimed", "real"), [("ES256", "ES384"), ("ES384", "ES256")])
async def test_an_algorithm_needs_its_curve(claimed: str, real: str) -> None:
    """An ES algorithm is good with its own curve alone, though both be allowed."""
    token = raw(f'{{"alg":"{claimed}"}}', payload(), real)
    both = FixedKeys([verifying_key("ES256"), verifying_key("ES384")])
    access = accepting(rules("ES256", "ES384"), both)
    with pytest.raises(Unauthenticated):
        await access.verify(token)
    for algorithm in ("ES256", "ES384"):
        assert (await access.verify(signed(algorithm))).subject == "ada"


@every_algorithm
async def test_kid_means_nothing_without_names(algorithm: str) -> None:
    """With a secret or a PEM file any `kid` is ignored."""
    token = signed(algorithm, 0, {"kid": "whatever"})
    assert (await verifier(algorithm).verify(token)).subject == "ada"


async def test_any_of_several_keys_verifies() -> None:
    """While an issuer changes keys, tokens of both are good, and of no third one."""
    keys = FixedKeys([verifying_key("RS256", 0), verifying_key("RS256", 1)])
    for number in (0, 1):
        token = signed("RS256", number)
        assert (await verifier("RS256", keys=keys).verify(token)).subject == "ada"
    with pytest.raises(Unauthenticated):
        await verifier("RS256", keys=keys).verify(signed("RS256", 2))


async def test_a_key_of_one_algorithm_verifies_no_other() -> None:
    """A key that its issuer has narrowed to one algorithm is good for no other."""
    whole = verifying_key("RS256")
    narrowed = FixedKeys([Key(whole.material, frozenset({"PS256"}))])
    access = accepting(rules("RS256", "PS256"), narrowed)
    assert (await access.verify(signed("PS256"))).subject == "ada"
    with pytest.raises(Unauthenticated):
        await access.verify(signed("RS256"))


async def test_a_key_for_the_wrong_algorithm_verifies_nothing() -> None:
    """A key is used for what it is good for, though it be offered for something else."""

    class Careless(FixedKeys):
        async def candidates(self, algorithm: str, kid: str | None) -> Sequence[Key]:
            return await super().candidates("PS256", kid)

    material = verifying_key("RS256").material
    access = accepting(rules("RS256", "PS256"), Careless([Key(material, frozenset({"PS256"}))]))
    assert (await access.verify(signed("PS256"))).subject == "ada"
    with pytest.raises(Unauthenticated):
        await access.verify(signed("RS256"))


async def test_a_longer_token_is_refused() -> None:
    """A token of 8 KiB is read, a longer one is refused, though it be genuine."""
    token = signed("HS256", pad="")
    room = (MAX_TOKEN_BYTES - len(token)) * 3 // 4
    fits, too_long = (signed("HS256", pad="x" * n) for n in (room - 4, room + 4))
    assert len(fits) <= MAX_TOKEN_BYTES < len(too_long)
    assert (await verifier("HS256").verify(fits)).subject == "ada"
    with pytest.raises(Unauthenticated):
        await verifier("HS256").verify(too_long)
