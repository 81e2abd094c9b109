"""Keys from the settings: a secret, a PEM file with one or several, and what is refused there."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway.access.control import create_issuers
from gateway.access.jwks import JwksKeys
from gateway.access.tokens import TokenVerifier
from gateway.errors import ConfigurationError, Unauthenticated
from gateway.settings import Settings, load
from gateway.settings.keys import MAX_TRIED
from tests.access.issuers import ASYMMETRIC, pair, pem, signed, signing_key
from tests.support import SECRET

ALL = ",".join(ASYMMETRIC)


def pem_settings(file: Path, *blocks: str, algorithms: str = ALL, **others: Any) -> Settings:
    file.write_text("\n".join(blocks))
    values = {"jwt_public_key_file": file, "jwt_algorithms": algorithms, **others}
    return load(None, **values)


def verifier(settings: Settings) -> TokenVerifier:
    return TokenVerifier(settings, create_issuers(settings))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "issuer.pem"


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
async def test_a_pem_file_verifies_every_algorithm(file: Path, algorithm: str) -> None:
    """The key in a PEM file verifies what its other half has signed, by its own algorithm."""
    settings = pem_settings(file, pem(signing_key(algorithm)), algorithms=algorithm)
    access = verifier(settings)
    assert (await access.verify(signed(algorithm))).subject == "ada"
    with pytest.raises(Unauthenticated):
        await access.verify(signed(algorithm, 1))


async def test_several_keys_in_a_file(file: Path) -> None:
    """A file may have several keys, of several kinds, with text between them."""
    blocks = (
        "The old one",
        pem(pair("RSA", 0), PublicFormat.PKCS1),
        "and the new",
        pem(pair("RSA", 1)),
    )
    access = verifier(pem_settings(file, *blocks, pem(pair("P-256"))))
    for token in (signed("RS256", 0), signed("PS256", 1), signed("ES256")):
        assert (await access.verify(token)).subject == "ada"
    with pytest.raises(Unauthenticated):
        await access.verify(signed("RS256", 2))


def private(form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    found: bytes = pair("RSA").private_bytes(Encoding.PEM, form, NoEncryption())
    return found.decode()


def good() -> str:
    return pem(pair("RSA"))


REFUSED: dict[str, tuple[Callable[[], str], str]] = {
    "empty": (lambda: "", "no complete public key"),
    "no PEM": (lambda: "ssh-rsa AAAA", "no complete public key"),
    "cut off": (lambda: good()[:-30], "no complete public key"),
    "one of two cut off": (lambda: good() + pem(pair("P-256"))[:-30], "no complete public key"),
    "damaged": (lambda: good().replace("\nMII", "\nXXX"), "damaged"),
    "private": (private, "private key"),
    "private, of the old form": (
        lambda: private(PrivateFormat.TraditionalOpenSSL), "private key"),
    "private beside a public one": (lambda: good() + private(), "private key"),
    "certificate": (
        lambda: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "openssl x509"),
    "weak": (lambda: pem(pair("weak RSA")), "2048 bits"),
    "weak beside a good one": (lambda: good() + pem(pair("weak RSA")), "2048 bits"),
    "curve that nothing uses": (lambda: pem(pair("P-521")), "only RSA, P-256"),
    "too many": (lambda: good() * (MAX_TRIED + 1), f"more than {MAX_TRIED}"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_file_is_refused(file: Path, content: Callable[[], str], why: str) -> None:
    """A file with anything but sound public keys is a mistake that names the setting; with sound
    ones it is not."""
    with pytest.raises(ConfigurationError, match=why) as caught:
        create_issuers(pem_settings(file, content()))
    assert "GATEWAY_JWT_PUBLIC_KEY_FILE" in str(caught.value)
    lines = [line for line in content().splitlines() if line and "-----" not in line]
    assert not any(line in str(caught.value) for line in lines)
    create_issuers(pem_settings(file, good()))


def test_a_key_without_an_allowed_algorithm_is_refused(file: Path) -> None:
    """A key for algorithms that are not allowed is a mistake: no token could use it."""
    with pytest.raises(ConfigurationError, match="ES256, which is not allowed"):
        create_issuers(pem_settings(file, good(), pem(pair("P-256")), algorithms="RS256"))
    create_issuers(pem_settings(file, good(), pem(pair("P-256")), algorithms="RS256,ES256"))


def test_a_missing_file_is_refused(file: Path) -> None:
    """A file that is not there is a mistake like any other, also when it is read again."""
    settings = pem_settings(file, good())
    create_issuers(settings)
    file.unlink()
    with pytest.raises(ConfigurationError, match=r"FILE: .*cannot be read"):
        create_issuers(settings)


async def test_a_reload_reads_the_file_again(file: Path) -> None:
    """With the file read again only its new key counts; a broken file changes nothing."""
    settings = pem_settings(file, good())
    access = verifier(settings)
    assert (await access.verify(signed("RS256"))).subject == "ada"

    file.write_text("")
    with pytest.raises(ConfigurationError):
        access.replace_issuers(create_issuers(settings))
    assert (await access.verify(signed("RS256"))).subject == "ada"

    file.write_text(pem(pair("RSA", 1)))
    access.replace_issuers(create_issuers(settings))
    assert (await access.verify(signed("RS256", 1))).subject == "ada"
    with pytest.raises(Unauthenticated):
        await access.verify(signed("RS256"))


async def test_a_secret_verifies_hs_algorithms() -> None:
    """A secret is good for the HS algorithms that are allowed, and that it is long enough for."""
    [issuer] = create_issuers(load(None, jwt_secret=SECRET))
    (key,) = await issuer.keys.candidates("HS256", None)
    assert key.algorithms == {"HS256"}
    [issuer] = create_issuers(load(None, jwt_secret=SECRET * 2))
    (key,) = await issuer.keys.candidates("HS512", None)
    assert key.algorithms == {"HS256", "HS384", "HS512"}
    assert SECRET not in repr(key)


def test_a_public_key_is_not_a_secret() -> None:
    """A public key is not a secret; the message says what to do, and does not quote the key."""
    with pytest.raises(ConfigurationError, match=r"GATEWAY_JWT_SECRET: .*openssl rand") as caught:
        create_issuers(load(None, jwt_secret=good()))
    assert "BEGIN" not in str(caught.value)
    create_issuers(load(None, jwt_secret=SECRET))


async def test_settings_are_required_of_tokens(file: Path) -> None:
    """Issuer, audience, leeway, claim and ownership of the settings are what tokens must meet."""
    settings = pem_settings(
        file, good(), algorithms="RS256", jwt_issuer="ours", jwt_audience="us",
        organization_claim="app.tenant", ownership="token",
    )  # fmt: skip
    access = verifier(settings)
    claims: dict[str, Any] = {
        "iss": "ours",
        "aud": "us",
        "app": {"tenant": "globex"},
        "executions": ["x"],
    }
    identity = await access.verify(signed("RS256", **claims))
    assert identity.organizations == {"globex"}
    assert identity.executions == {"x"}
    await access.verify(signed("RS256", **claims, exp=int(time.time()) - 5))
    registry = verifier(settings.model_copy(update={"ownership": "registry"}))
    assert (await registry.verify(signed("RS256", **claims))).executions is None
    for wrong in ({"iss": "theirs"}, {"aud": "them"}):
        with pytest.raises(Unauthenticated):
            await access.verify(signed("RS256", **{**claims, **wrong}))
    with pytest.raises(Unauthenticated):
        await access.verify(signed("PS256", **claims))


def test_a_jwks_url_makes_fetched_keys() -> None:
    """A JWKS URL makes keys that are fetched."""
    settings = load(None, jwks_url="https://issuer.example/jwks.json", jwt_algorithms="RS256")
    [issuer] = create_issuers(settings)
    assert isinstance(issuer.keys, JwksKeys)
