"""Several secrets of one issuer, and several issuers: each token is checked with the keys, and for
the audience, of the issuer that it names."""

from pathlib import Path
from typing import Any

import jwt
import pytest

from gateway.access import claims as reading
from gateway.access import tokens
from gateway.access.control import create_issuers
from gateway.access.tokens import TokenVerifier
from gateway.errors import ConfigurationError, Unauthenticated
from gateway.settings import Settings, load
from gateway.settings.keys import MAX_TRIED
from tests.access.issuers import claims, pair, pem

SECRETS = [f"{number}-" + "x" * 40 for number in range(MAX_TRIED + 1)]
FIRST, SECOND = "https://one.example", "https://two.example"


def hs(secret: str, **others: Any) -> str:
    return jwt.encode(claims(**others), secret, algorithm="HS256")


def rs(number: int = 0, **others: Any) -> str:
    return jwt.encode(claims(**others), pair("RSA", number), algorithm="RS256")


def accepting(settings: Settings) -> TokenVerifier:
    return TokenVerifier(settings, create_issuers(settings))


async def passes(access: TokenVerifier, token: str) -> bool:
    try:
        return bool(await access.verify(token))
    except Unauthenticated:
        return False


async def test_several_secrets_are_all_good(tmp_path: Path) -> None:
    """One a line, in an array, or in several files; the first one signs."""
    both = tmp_path / "both"
    both.write_text(f"{SECRETS[0]} \n\n{SECRETS[1]}\n")
    files = [tmp_path / "one", tmp_path / "two"]
    for file, secret in zip(files, SECRETS, strict=False):
        file.write_text(secret)
    toml = tmp_path / "gateway.toml"
    toml.write_text(f"jwt_secret = {SECRETS[:2]}\n")
    for settings in (
        load(None, jwt_secret="\n".join(SECRETS[:2])),
        load(None, jwt_secret_file=both),
        load(None, jwt_secret_file=",".join(map(str, files))),
        load(toml),
    ):
        assert settings.secrets == tuple(SECRETS[:2])
        access = accepting(settings)
        assert [await passes(access, hs(secret)) for secret in SECRETS[:3]] == [True, True, False]


def test_a_single_secret_is_used_to_the_letter() -> None:
    """As before there were several: also with a line break at its end."""
    for secret in (f"{SECRETS[0]}\n", f" {SECRETS[0]}"):
        assert load(None, jwt_secret=secret).secrets == (secret,)


@pytest.mark.parametrize(
    ("secrets", "said"),
    [(SECRETS, "more than 8"), ([SECRETS[0], "short"], "secret 2 of 2 is shorter than 32")],
)
def test_secrets_are_few_and_long(secrets: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"GATEWAY_JWT_SECRET: .*{said}") as caught:
        load(None, jwt_secret="\n".join(secrets))
    assert not any(secret in str(caught.value) for secret in (*SECRETS, '"short"'))


async def test_a_bad_token_is_read_once_for_all_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def check(*given: Any) -> Any:
        read.append(given)
        return checks(*given)

    checks = reading.check
    monkeypatch.setattr(tokens, "check", check)
    access = accepting(load(None, jwt_secret="\n".join(SECRETS[1:])))
    assert not await passes(access, hs(SECRETS[0]))
    assert len(read) == 1


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """Settings with an issuer that has a key pair and an audience, and one that has a secret."""
    (tmp_path / "one.pem").write_text(pem(pair("RSA")))
    (tmp_path / "two").write_text(SECRETS[0])
    file = tmp_path / "gateway.toml"
    file.write_text(
        f"""
        [[jwt_issuers]]
        jwt_issuer = "{FIRST}"
        jwt_audience = "gateway"
        jwt_algorithms = ["RS256"]
        jwt_public_key_file = "{tmp_path}/one.pem"

        [[jwt_issuers]]
        jwt_issuer = "{SECOND}"
        jwt_secret_file = "{tmp_path}/two"
        """
    )
    return file


async def test_each_issuer_has_its_own_keys_and_audience(several: Path) -> None:
    """No token is good by what another issuer may do; the payer of a limit is never shared."""
    access = accepting(load(several))
    good = {FIRST: rs(iss=FIRST, aud="gateway"), SECOND: hs(SECRETS[0], iss=SECOND)}
    payers = {(await access.verify(token)).payer for token in good.values()}
    assert len(payers) == 2
    for token in (
        rs(iss=FIRST),
        rs(iss=SECOND, aud="gateway"),
        rs(1, iss=FIRST, aud="gateway"),
        rs(aud="gateway"),
        hs(SECRETS[0], iss=FIRST, aud="gateway"),
        hs(SECRETS[0], iss="https://three.example"),
        hs(SECRETS[0], iss=None),
        # The public key as a secret.
        jwt.encode(claims(iss=SECOND), pem(pair("RSA")).replace("-----", ""), algorithm="HS256"),
    ):
        assert not await passes(access, token)


MISTAKES = {
    "a key beside them": ("", 'jwks_url = "https://x.example"\n', "JWT_SECRET: each issuer has"),
    "an audience beside them": ("", 'jwt_audience = "x"\n', "GATEWAY_JWT_AUDIENCE: each issuer"),
    "the same issuer twice": (SECOND, FIRST, "GATEWAY_JWT_ISSUERS: two tables have the same"),
    "no keys": ("jwt_secret_file", "#", r"GATEWAY_JWT_ISSUERS \(1.jwt_secret\): no key"),
    "a secret's algorithm for a public key": (
        '"RS256"', '"HS256"', r"GATEWAY_JWT_ISSUERS \(0.jwt_algorithms\): .*as a secret"),
    "a misspelling": ("jwt_audience", "jwt_audeince", r"ISSUERS \(0.jwt_audeince\): Extra"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_in_an_issuer_is_named(several: Path, old: str, new: str, said: str) -> None:
    """With the number of its table, from 0, and its setting; and it is the only one named."""
    text = several.read_text()
    several.write_text(text.replace(old, new) if old else new + text)
    with pytest.raises(ConfigurationError, match=said) as caught:
        load(several)
    assert len(caught.value.mistakes) == 1
